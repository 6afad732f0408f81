"""The command from end to end: a real environment, a real Gradio 3.41.2, a real engine in it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fooocus_nb
from fooocus_nb.errors import InstallError
from fooocus_nb.install import install
from fooocus_nb.install.pythons import find_uv

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.install.conftest import Teller

COMMAND = [sys.executable, "-m", "fooocus_nb.cli"]
MINUTES = 20
#: What is said at the begin of the stages in which it is interrupted, and how.
STAGES = ("are free", "Making an environment", "Installing pip", "Packages of", "Packages of")
ENDS = (signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "install", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=MINUTES * 60,
        env=os.environ | environment,
        check=False,
    )


def own_environment() -> tuple[set[tuple[str, str]], dict[str, str]]:
    """The packages of this environment, and the digest of each of their files' lists."""
    importlib.invalidate_caches()
    packages = {(each.name, each.version) for each in importlib.metadata.distributions()}
    site = Path(sysconfig.get_path("purelib"))
    records = {
        str(path.relative_to(site)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in site.glob("*.dist-info/*")
        if path.is_file()
    }
    return packages, records


def generates(path: Path, outputs: Path) -> bool:
    engine = fooocus_nb.start(path, timeout=180, share=False, output_dir=outputs)
    try:
        images = engine.generate("a lighthouse", image_number=2, seed=5)
        return [image.seed for image in images] == [5, 6] and all(
            image.path.is_file() for image in images
        )
    finally:
        engine.stop()


# -- the command ------------------------------------------------------------------------------


def test_help_says_what_it_does() -> None:
    told = run("--help").stdout
    for word in ("--from", "--ref", "--yes", "--python", "--torch", "--json", "licences"):
        assert word in told


def test_another_source_without_anybody_to_ask(
    make_repository: Callable[..., Path], tmp_path: Path
) -> None:
    done = run(tmp_path / "Fooocus", "--from", make_repository())
    assert done.returncode == 1
    assert "installing it runs its code" in done.stderr
    assert "--yes agrees" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "Fooocus" / "launch.py").exists()


def test_a_repository_that_is_no_fooocus(
    make_repository: Callable[..., Path], tmp_path: Path, teller: Teller
) -> None:
    origin = make_repository(readme__md="nothing to run")
    with pytest.raises(InstallError, match=r"no Fooocus: it has no launch\.py"):
        install(tmp_path / "Fooocus", teller, source=str(origin))


def test_without_a_suitable_python_nothing_is_fetched(
    tmp_path: Path, teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fooocus_nb.install.pythons.PYTHONS", ((3, 4),))
    monkeypatch.setattr("fooocus_nb.install.pythons.find_uv", lambda: None)
    with pytest.raises(InstallError, match="none was found"):
        install(tmp_path / "Fooocus", teller, source="https://127.0.0.1:9/x")
    assert not (tmp_path / "Fooocus" / ".git").exists()


def test_without_room_nothing_is_fetched(
    tmp_path: Path, teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 5_000_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(InstallError, match=r"not enough room.*5 MB are free.*Nothing was down"):
        install(tmp_path / "Fooocus", teller, source="https://127.0.0.1:9/x")
    assert not (tmp_path / "Fooocus" / ".git").exists()


def test_a_wrong_kind_of_pytorch(tmp_path: Path, teller: Teller) -> None:
    with pytest.raises(InstallError, match="'nvidia'"):
        install(tmp_path, teller, torch="nvida")


# -- the real thing ---------------------------------------------------------------------------


def without_uv(home: Path) -> dict[str, str]:
    """An environment in which there is no uv, wherever it is looked for."""
    folders = [
        folder
        for folder in os.environ["PATH"].split(os.pathsep)
        if shutil.which("uv", path=folder) is None
    ]
    return {"PATH": os.pathsep.join(folders), "HOME": str(home), "USERPROFILE": str(home)}


@pytest.mark.slow
@pytest.mark.may_skip
@pytest.mark.timeout(MINUTES * 60)
@pytest.mark.parametrize("with_uv", [True, False], ids=["uv", "venv"])
def test_it_installs_and_generates_and_leaves_this_environment_alone(
    make_repository: Callable[..., Path], tmp_path: Path, with_uv: bool
) -> None:
    if with_uv and find_uv() is None:
        pytest.skip("there is no uv, which comes with nox")
    maker = {} if with_uv else without_uv(tmp_path / "home")
    before = own_environment()
    origin, path = make_repository(), tmp_path / "Fooocus"
    # What could lead pip astray is there.
    astray = {"PIP_TARGET": sysconfig.get_path("purelib"), "PIP_CONSTRAINT": os.devnull}
    done = run(path, "--from", origin, "--yes", "--json", **astray, **maker)
    assert done.returncode == 0, done.stderr
    made_by_uv = "uv = " in (path / "venv" / "pyvenv.cfg").read_text()
    assert made_by_uv is with_uv
    told = json.loads(done.stdout)
    assert told["path"] == str(path)
    assert told["python"].startswith(str(path / "venv"))
    assert {check["status"] for check in told["doctor"]["checks"]} <= {"ok", "warning"}
    assert "licences of their own" in done.stderr
    assert generates(path, tmp_path / "outputs")
    # Again, it has nothing to do, and does not need the network for it.
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_NO_INDEX": "1"}
    again = run(path, "--from", origin, **nowhere, **maker)
    assert again.returncode == 0, again.stderr
    assert "Packages of" not in again.stderr
    assert own_environment() == before


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal of that kind")
@pytest.mark.timeout(3 * MINUTES * 60)
def test_it_is_interrupted_at_five_random_moments_and_run_again(
    make_repository: Callable[..., Path], tmp_path: Path
) -> None:
    before = own_environment()
    origin, path = make_repository(), tmp_path / "Fooocus"
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    command = [*COMMAND, "install", str(path), "--from", str(origin), "--yes"]
    reached = []
    for number, end in enumerate(ENDS):
        told = tmp_path / "told"
        with told.open("w") as errors:
            child = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
            )
        # A random moment in each stage, or in a later one where this one was done before.
        deadline = time.monotonic() + MINUTES * 60
        while child.poll() is None and time.monotonic() < deadline:
            if any(mark in told.read_text() for mark in STAGES[number:]):
                break
            time.sleep(0.02)
        moment = chance.uniform(0.0, 8.0)
        try:
            child.wait(moment)
        except subprocess.TimeoutExpired:
            child.send_signal(end)
            child.wait(60)
        reached.append((end.name, round(moment, 2), child.returncode, told.read_text()[-300:]))
    done = run(path, "--from", origin, "--yes")
    assert done.returncode == 0, (seed, reached, done.stderr)
    assert generates(path, tmp_path / "outputs"), (seed, reached)
    checked = subprocess.run(
        [path / "venv/bin/python", "-m", "pip", "check"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert checked.returncode == 0, (seed, reached, checked.stdout)
    assert own_environment() == before


@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 60)
def test_without_network_for_pip(make_repository: Callable[..., Path], tmp_path: Path) -> None:
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_RETRIES": "1",
        "PIP_NO_CACHE_DIR": "1",
        "UV_INDEX_URL": "http://127.0.0.1:9/simple",
    }
    done = run(tmp_path / "Fooocus", "--from", make_repository(), "--yes", **nowhere)
    assert done.returncode == 1
    assert "there is no network" in done.stderr
    assert "run the same again" in done.stderr


@pytest.mark.slow
@pytest.mark.may_skip
@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
@pytest.mark.timeout(MINUTES * 60)
def test_a_disk_that_fills_up_on_the_way(
    make_repository: Callable[..., Path], tmp_path: Path, teller: Teller, monkeypatch
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=90m", "tmpfs", str(small)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount")
    try:
        with pytest.raises(InstallError, match="not enough room on the disk"):
            install(small / "Fooocus", teller, source=str(make_repository()))
        # And where the check was too hopeful.
        monkeypatch.setattr(shutil, "disk_usage", lambda path: type("U", (), {"free": 10**12}))
        with pytest.raises(InstallError, match=r"(?s)disk is full.*run the same again"):
            install(small / "Fooocus", teller, source=str(tmp_path / "origin"))
    finally:
        deadline = time.monotonic() + 60
        while subprocess.run(["umount", small], capture_output=True, timeout=60).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.2)
