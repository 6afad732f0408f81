"""What every room of tests shares: demo engines, a browser, and a look behind at the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from filelock import FileLock
from hypothesis import settings

from .lanes import examples
from .loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]

#: Every process that the tests start inherits this, however far it daemonises itself.
MARK = "FOOOCUS_NB_TEST_SESSION"
SESSION = uuid.uuid4().hex
LEFTOVER_SECONDS = 15.0
DEMO_START_SECONDS = 120.0
#: A Gradio 3.41.2 that still installs and runs, on Python 3.11 and 3.12.
PINS = (
    "gradio==3.41.2",
    "fastapi==0.112.0",
    "starlette==0.37.2",
    "pydantic==2.8.2",
    "huggingface_hub==0.24.5",
    "jinja2==3.1.4",
    "uvicorn==0.30.5",
    "numpy==1.26.4",
    "pillow==10.4.0",
)
#: Gradios of today, which forks of Fooocus run on.
MODERN_PINS = {5: ("gradio==5.50.0",), 6: ("gradio==6.31.0",)}
#: And the last one with Gradio 4's first protocol, whose own pins leave open what breaks it today.
LATER_PINS = {
    4: (
        "gradio==4.8.0",
        "fastapi==0.112.0",
        "starlette==0.37.2",
        "pydantic==2.8.2",
        "huggingface_hub==0.24.5",
        "jinja2==3.1.4",
        "httpx==0.27.0",
        "numpy==1.26.4",
        "pillow==10.4.0",
    ),
    **MODERN_PINS,
}
#: Those speak as the newest one does, or nearly so.
OLDER = sorted(LATER_PINS)[:-1]
BUILD_SECONDS = 900.0
#: Tests of how things end mostly wait; one process more than there are cores uses that time.
PROCESSES = min((os.cpu_count() or 1) + 1, 9)
#: As many as Hypothesis makes by itself; a test's own number goes through `examples`, too.
DEFAULT_EXAMPLES = 100
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_configure(config: pytest.Config) -> None:
    os.environ[MARK] = SESSION
    _keep_bytecode(config)
    settings.register_profile("lanes", max_examples=examples(DEFAULT_EXAMPLES))
    settings.load_profile("lanes")
    os.environ.pop("FOOOCUS_HOME", None)  # whoever runs the tests may have a real one
    # What a script's background or nohup ignores would be ignored by all that the tests start.
    heard = {"SIGINT": signal.default_int_handler, "SIGHUP": lambda *_: None}
    for name, handler in heard.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)  # which does not outlast an exec


def _keep_bytecode(config: pytest.Config) -> None:
    """Let what the tests start keep its bytecode for the session, also where nobody else may.

    Hundreds of kernels, engines and servers would each compile all that they import, which takes
    half of their time. Workers inherit what is set here.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) and "PYTHONPYCACHEPREFIX" not in os.environ:
        folder = tempfile.mkdtemp(prefix="fnb-bytecode-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ["PYTHONPYCACHEPREFIX"] = folder


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in several processes; what is named, such as a room, runs in one.

    Files stay whole, for what their tests share. The order stays as well: the browser's tests, of
    which each takes long, come first, so that the processes end at much the same time.
    """
    options = config.option
    if (
        config.args_source is pytest.Config.ArgsSource.TESTPATHS
        and config.pluginmanager.hasplugin("xdist")
        and not hasattr(config, "workerinput")
        and not (options.keyword or options.usepdb or options.collectonly)
        and options.numprocesses is None
        and options.dist == "no"
    ):
        options.numprocesses, options.dist, options.loadscopereorder = PROCESSES, "loadfile", False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need recordings of real servers where there are none.

    And give those that may have to build an environment the time for that.
    """
    for item in items:
        if {"gradio3_python", "gradio3_checkout", "modern_gradio", "later_gradio"} & set(
            getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.timeout(BUILD_SECONDS + 300))
    recordings = ROOT.parent / "shared" / "fooocus"
    if recordings.is_dir():
        return
    left_out = [item for item in items if item.get_closest_marker("recorded")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """Take what has been collected out of Python's garbage collection.

    It stays to the end, and going through thousands of tests and all their modules again takes a
    quarter of a second each time: more than most tests.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[pytest.TestReport]:
    """Fail what skips itself on CI: a test that never runs is noticed by nobody.

    Whole platforms are left out with ``skipif``, and tests of what not every machine allows or has
    are marked with ``may_skip``.
    """
    report = yield
    may = any(item.get_closest_marker(name) for name in ("skipif", "may_skip"))
    if report.skipped and not may and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"on CI nothing is skipped, and this would have been: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def places_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep apart from the engines of whoever runs the tests, and from those of a run beside this.

    A start would attach to a running engine of the same kind, and a few hundred logs would push
    out the user's own.
    """
    # For what lives as long as the tests, such as a Jupyter server; modules have their own.
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    with _short_folder() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        yield


@pytest.fixture(scope="module", autouse=True)
def logs_of_our_own(places_of_our_own: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the logs of each module apart: every start looks at all of them."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name, however deep TMPDIR is."""
    with _short_folder() as folder:
        yield Path(folder)


def _short_folder() -> tempfile.TemporaryDirectory[str]:
    # The path of a socket may have a hundred characters, and pytest's own folders are deep.
    place = None if os.name == "nt" else "/tmp"
    return tempfile.TemporaryDirectory(prefix="fnb-", dir=place, ignore_cleanup_errors=True)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(places_of_our_own: None) -> Iterator[None]:
    """Fail the session when a process that the tests started outlives them."""
    yield
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while (left := _marked_processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    told = [_describe(process) for process in left]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    if told:
        pytest.fail("the tests left these processes behind:\n" + "\n".join(told), pytrace=False)


@pytest.fixture(scope="module", autouse=True)
def no_engine_left_watched(nothing_left_behind: None) -> Iterator[None]:
    """Fail the module that leaves an engine open: it would be found in the tests of another."""
    before = _watches()
    yield
    assert not _watches() - before


def _watches() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "-watch-" in thread.name}


@dataclass(frozen=True)
class DemoServer:
    """A demo engine that runs as a child, without a guardian or a client."""

    url: str
    pid: int
    temp_path: Path
    output_path: Path
    log_path: Path

    def log(self) -> str:
        """What it has printed so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def demo_server(tmp_path: Path) -> Iterator[Callable[..., DemoServer]]:
    """Start demo engines with the given flags; each answers HTTP when it is handed out."""
    children: list[subprocess.Popen[bytes]] = []

    def start(*flags: str, step_seconds: float = 0.0) -> DemoServer:
        folder = tmp_path / f"demo-{len(children)}"
        temp_path, output_path = folder / "temp", folder / "outputs"
        temp_path.mkdir(parents=True)
        log_path = folder / "engine.log"
        port = free_port()
        places = ["--temp-path", str(temp_path), "--output-path", str(output_path)]
        with log_path.open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "fooocus_nb.demo", "--port", str(port), *places, *flags],
                env=os.environ
                | {"PYTHONUNBUFFERED": "1", "FOOOCUS_DEMO_STEP_SECONDS": str(step_seconds)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        children.append(child)
        server = DemoServer(f"http://127.0.0.1:{port}", child.pid, temp_path, output_path, log_path)
        _wait_until_it_answers(server, child)
        return server

    yield start
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(5)


class CuttingProxy:
    """Stands between a client and a server on this machine, and cuts all connections on demand."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.removeprefix("http://").partition(":")
        self._port = int(port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._marker = b""
        self._left = 0
        self._closed = False
        self.cuts = 0
        self._loop = LoopThread()
        self._server = self._loop.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Cut every connection now, as a network does: without a word."""
        self._loop.run(self._cut())

    def cut_after(self, marker: str, times: int = 1) -> None:
        """Cut every connection once the server has said something so many times."""
        self._marker, self._left = marker.encode(), times

    def refuse(self) -> None:
        """Cut all, and let nobody in any more."""
        self._closed = True
        self.cut()

    async def _cut(self) -> None:
        self.cuts += 1
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError), contextlib.closing(writer):
            if self._closed:
                writer.transport.abort()
                return
            reader_there, writer_there = await asyncio.open_connection(self._host, self._port)
            self._writers.add(writer_there)
            there = asyncio.ensure_future(self._pump(reader, writer_there))
            try:
                await self._pump(reader_there, writer, watched=True)
            finally:
                there.cancel()
                writer_there.close()  # a pump that is cancelled does not
                self._writers.discard(writer_there)
        self._writers.discard(writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watched: bool = False
    ) -> None:
        before = b""
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
                if watched and self._marker:
                    seen = before + data
                    found = seen.count(self._marker)
                    before = seen[-len(self._marker) + 1 :] if len(self._marker) > 1 else b""
                    self._left -= found
                    if found and self._left <= 0:
                        self._marker = b""
                        await self._cut()
        writer.close()

    def close(self) -> None:
        """Cut all and end."""
        self.refuse()
        self._loop.run(self._end())
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()


@pytest.fixture
def cutting_proxy() -> Iterator[Callable[[str], CuttingProxy]]:
    """Put proxies before servers; their connections can be cut."""
    proxies: list[CuttingProxy] = []

    def stand_before(target: str) -> CuttingProxy:
        proxies.append(CuttingProxy(target))
        return proxies[-1]

    yield stand_before
    for proxy in proxies:
        proxy.close()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one the test is skipped, but on CI it fails."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("CI has no Chromium: .ci/run should have installed it")
    if found is None:
        pytest.skip("no Chromium on this machine")
    return found


def _interpreter() -> str:
    """Return a Python that the pins have wheels for."""
    if sys.version_info < (3, 13):
        return sys.executable
    for name in ("python3.12", "python3.11"):
        # One of pyenv's shims may stand for a version that it does not have.
        for folder in os.get_exec_path():
            found = shutil.which(name, path=folder)
            told = found and subprocess.run([found, "-V"], capture_output=True, check=False)
            if found and told and told.returncode == 0:
                return found
    pytest.skip("Gradio 3.41.2 needs Python 3.11 or 3.12, and neither is on the PATH")


def _checked(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def gradio3_python() -> Path:
    """Return the interpreter of an environment with Gradio 3.41.2, made once per machine."""
    return _environment("gradio3", _interpreter(), PINS)


@pytest.fixture
def gradio3_checkout(tmp_path: Path, gradio3_python: Path) -> Path:
    """A folder that looks like a Fooocus with its own environment, and serves a real Gradio 3."""
    checkout = tmp_path / "Fooocus"
    checkout.mkdir()
    servers = str(ROOT / "tests" / "servers")
    (checkout / "launch.py").write_text(
        f"import sys\nsys.path.insert(0, {servers!r})\nimport fooocus_launch\n"
    )
    (checkout / "fooocus_version.py").write_text("version = '2.5.5'\n")
    (checkout / "venv").symlink_to(gradio3_python.parents[1], target_is_directory=True)
    return checkout


@pytest.fixture(scope="session", params=MODERN_PINS, ids=lambda major: f"gradio{major}")
def modern_gradio(request: pytest.FixtureRequest) -> Path:
    """Return the interpreter of an environment with a Gradio of today, made once per machine."""
    return _environment(f"gradio{request.param}", sys.executable, MODERN_PINS[request.param])


@pytest.fixture(
    scope="session",
    params=[pytest.param(major, marks=pytest.mark.slow) for major in OLDER] + [max(MODERN_PINS)],
    ids=lambda major: f"gradio{major}",
)
def later_gradio(request: pytest.FixtureRequest) -> Path:
    """Do the same, also for an early Gradio 4; every day only for the newest."""
    major = request.param
    base = _interpreter() if major not in MODERN_PINS else sys.executable
    return _environment(f"gradio{major}", base, LATER_PINS[major])


@pytest.fixture(scope="session")
def make_environment() -> Callable[[str, str, tuple[str, ...]], Path]:
    """Make an environment by name, base interpreter and pins, once per machine."""
    return _environment


def _environment(name: str, base: str, pins: tuple[str, ...]) -> Path:
    version = _checked([base, "-c", "import sys; print(sys.version)"])
    key = hashlib.sha256("\n".join((*pins, version)).encode()).hexdigest()[:12]
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    folder = cache / f"{name}-{key}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / "complete"
    with FileLock(cache / f"{name}-{key}.lock", timeout=BUILD_SECONDS):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _checked([base, "-m", "venv", str(folder)])
            _install(python, pins)
            complete.touch()
    return python


def _install(python: Path, pins: tuple[str, ...]) -> None:
    """Install with uv where it is there, in seconds; else with pip and the settings of its own."""
    if (uv := shutil.which("uv")) is not None:
        command = [uv, "pip", "install", "-q", "--python", str(python), *pins]
        if not subprocess.run(
            command, capture_output=True, timeout=BUILD_SECONDS, check=False
        ).returncode:
            return
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    _checked([*pip, *pins])


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_until_it_answers(server: DemoServer, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEMO_START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            pytest.fail(f"the demo engine ended with {child.returncode}:\n{server.log()}")
        try:
            if httpx.get(f"{server.url}/config", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail(f"the demo engine does not answer:\n{server.log()}")


def _marked_processes() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(MARK) == SESSION and not _is_of_multiprocessing(process):
                found.append(process)
    return found


def _is_of_multiprocessing(process: psutil.Process) -> bool:
    """Whether it is the standard library's own helper, which ends with this process."""
    return process.ppid() == os.getpid() and any(
        "multiprocessing.resource_tracker" in word for word in process.cmdline()
    )


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline())}"
    except psutil.Error:
        return f"{process.pid}: (it has just ended)"
