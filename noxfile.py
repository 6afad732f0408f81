"""Every check of the project, each in an environment of its own: `nox -l` lists them.

`.ci/run` calls these; so can you. The everyday lane is `nox`, the long one `nox -t all`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nox

ROOT = Path(__file__).parent
README_COMMAND = 'python -m pip install -e ".[test]" && pytest'
#: What the wheel holds beside the package's own files.
EXTRA_FILES = {
    "fooocus_nb/notebooks/01-quickstart.ipynb",
    "etc/jupyter/jupyter_server_config.d/fooocus_nb.json",
}
CORES = os.cpu_count() or 1
#: Tests of how things end mostly wait; one process more than there are cores uses that time. Files
#: stay whole, for what their tests share.
PARALLEL = ["-n", str(CORES + 1), "--dist", "loadfile", "--no-loadscope-reorder", "--durations=40"]
#: All of it is Python and JavaScript as text; more than this is something that got in by mistake.
MAX_WHEEL_BYTES = 1_200_000
PLATFORMS = ("linux", "darwin", "win32")


def _newest_python() -> str:
    """Return the newest Python that runs here, of those on the path and of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    found += map(str, pyenv.glob("versions/*/bin/python3.[0-9]*[0-9]"))
    by_version = {sys.version_info[:2]: sys.executable}
    for path in filter(None, found):
        script = "import sys; print(sys.version_info.major, sys.version_info.minor)"
        told = subprocess.run([path, "-c", script], capture_output=True, text=True, check=False)
        if told.returncode == 0:  # pyenv's shims stand also for what it has not
            major, minor = map(int, told.stdout.split())
            by_version.setdefault((major, minor), path)
    return by_version[max(by_version)]


#: The one that runs this, which is the oldest that the project supports in its own checks.
PYTHONS = list(dict.fromkeys([sys.executable, _newest_python()]))

# The tests build environments with uv where it is on the path: here it comes with nox.
os.environ["PATH"] += f"{os.pathsep}{Path(sys.executable).parent}"

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = True
# The tests come last: their summary is the last that this prints.
nox.options.sessions = ["lint", "wheel", "notebooks", "binder", "recorded", "browser", "tests"]


def _workspace(session: nox.Session) -> Path:
    """Return an empty folder for this session, outside of the checkout."""
    folder = Path(session.create_tmp()).resolve()
    # Which makes that folder TMPDIR, too, whose path is a long one for what is tested here.
    session.env["TMPDIR"] = tempfile.gettempdir()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _clone(session: nox.Session, folder: Path) -> Path:
    """Return a copy of all that is committed or about to be, in a folder with nothing beside it."""
    clone = folder / "alone" / "fooocus-nb"
    listed = session.run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard",
        external=True, silent=True, log=False,
    )  # fmt: skip
    for name in str(listed).split("\0"):
        source = ROOT / name
        if name and source.is_file():
            target = clone / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    # The servers of other Gradio versions are built once per machine.
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    (clone / ".cache").symlink_to(cache, target_is_directory=True)
    return clone


def _side_by_side(session: nox.Session, commands: list[list[str]]) -> None:
    """Run commands at once, as many as there are cores; what they print is seen where one fails."""
    with ThreadPoolExecutor(CORES) as pool:
        running = [pool.submit(session.run, *command, silent=True) for command in commands]
        for each in running:
            each.result()


@nox.session(tags=["everyday", "all"])
def lint(session: nox.Session) -> None:
    """Run what pre-commit runs, and check the types for every platform."""
    session.install("-e", ".[dev]")
    checks = [["pre-commit", "run", "--all-files", "--show-diff-on-failure"]]
    if not (ROOT / ".git").exists():
        checks = [["mypy"]]
    # Each with a cache of its own: one run would throw away what the other has found.
    others = [each for each in PLATFORMS if each != sys.platform]
    checks += [["mypy", f"--platform={each}", f"--cache-dir=.mypy_cache/{each}"] for each in others]
    _side_by_side(session, checks)


@nox.session(tags=["everyday", "all"])
def wheel(session: nox.Session) -> None:
    """Build the wheel, look into it, and run the quickstart from it and not from the checkout."""
    import zipfile

    folder = _workspace(session)
    session.install("build")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder / "dist"), silent=True)
    (built,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        names = {
            # Data for the environment stands below the version.
            name.partition(".data/data/")[2] or name
            for name in archive.namelist()
            if ".dist-info/" not in name
        }
    lab = ROOT / "fooocus_nb" / "labextension"
    expected = EXTRA_FILES | {
        f"share/jupyter/labextensions/fooocus-nb/{path.relative_to(lab).as_posix()}"
        for path in lab.rglob("*")
        if path.is_file()
    }
    expected |= {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fooocus_nb").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    if names != expected:
        missing, stray = sorted(expected - names), sorted(names - expected)
        session.error(f"the wheel lacks {missing} and should not have {stray}")
    session.install(f"fooocus-nb[lab] @ {built.as_uri()}")
    session.chdir(folder)
    session.run("fooocus-nb", "quickstart", "--output", str(folder / "quickstart"))
    page = (folder / "quickstart" / "01-quickstart.html").read_text(encoding="utf-8")
    if "data:image/" not in page:
        session.error("the quickstart's page shows no image")


@nox.session(tags=["everyday", "all"])
def notebooks(session: nox.Session) -> None:
    """Execute every notebook on the demo engine."""
    session.install("-e", ".[lab,run,dask]")
    # They write beside themselves, and nothing is to be left in the checkout.
    folder = shutil.copytree(ROOT / "notebooks", _workspace(session) / "notebooks")
    session.chdir(folder)
    execute = ["jupyter", "execute", "--inplace", "--timeout=600"]
    _side_by_side(session, [[*execute, each.name] for each in sorted(folder.glob("*.ipynb"))])


@nox.session(venv_backend="none", tags=["everyday", "all"])
def binder(session: nox.Session) -> None:
    """Build what Binder builds, with its own files and in an environment of its own, and run it."""
    folder = _workspace(session)
    session.run(sys.executable, "-m", "venv", str(folder / "venv"), external=True)
    bin_folder = folder / "venv" / "bin"
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "VIRTUAL_ENV": str(folder / "venv"), "PIP_QUIET": "2"}

    def run(*command: str) -> None:
        session.run(*command, env=environment, external=True)

    # By its path: nox looks a name up where it runs itself.
    python = str(bin_folder / "python")
    run(python, "-m", "pip", "install", "-r", "binder/requirements.txt")
    run("bash", "binder/postBuild")
    run(python, "tests/tools/check_binder.py", "bash", "binder/start")


@nox.session(tags=["everyday", "all"])
def recorded(session: nox.Session) -> None:
    """Run the tests that need recordings of real servers, where those lie beside the checkout."""
    if not (ROOT.parent / "shared" / "fooocus").is_dir():
        session.skip("no recordings beside the checkout")
    session.install("-e", ".[test]")
    # In one process: each would collect thousands of tests for these few.
    session.run("pytest", "-m", "recorded", "-n0", *session.posargs)


@nox.session(tags=["everyday"])
def browser(session: nox.Session) -> None:
    """Run what is tested every day in a real browser."""
    session.install("-e", ".[test]")
    session.run("pytest", "tests/browser", "-m", "browser", *PARALLEL, *session.posargs)


@nox.session(venv_backend="none", tags=["everyday"])
def tests(session: nox.Session) -> None:
    """Type the README's test command in a fresh clone with nothing beside it."""
    if README_COMMAND not in (ROOT / "README.md").read_text(encoding="utf-8"):
        session.error("the README gives another test command")
    clone = _clone(session, _workspace(session))
    session.run(sys.executable, "-m", "venv", str(clone / ".venv"), external=True)
    options = " ".join([*PARALLEL, *session.posargs, os.environ.get("PYTEST_ADDOPTS", "")])
    script = f". .venv/bin/activate && {README_COMMAND.replace('pip', 'pip --quiet', 1)}"
    session.chdir(clone)
    session.run("bash", "-ec", script, env={"PYTEST_ADDOPTS": options}, external=True)


@nox.session(tags=["all"])
def docs(session: nox.Session) -> None:
    """Build the documentation site strictly, its cells executed."""
    session.install("-e", ".[docs]")
    clone = _clone(session, _workspace(session))
    session.chdir(clone)
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build")


@nox.session(tags=["all"])
def release(session: nox.Session) -> None:
    """Build sdist and wheel into dist/, and check them as the package index would."""
    session.install("build", "twine", "check-wheel-contents")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", "dist", silent=True)
    built = sorted(str(path) for path in (ROOT / "dist").iterdir())
    session.run("twine", "check", "--strict", *built)
    (wheel_path,) = (path for path in (ROOT / "dist").glob("*.whl"))
    # Its other top-level folder is data that Jupyter looks for, not a package.
    session.run("check-wheel-contents", str(wheel_path))
    if (size := wheel_path.stat().st_size) > MAX_WHEEL_BYTES:
        session.error(f"the wheel has {size} bytes, more than {MAX_WHEEL_BYTES}")


@nox.session(python=PYTHONS, tags=["all"])
def installed(session: nox.Session) -> None:
    """Run the tests on the wheel, all examples too, on the oldest and the newest Python here."""
    folder = _workspace(session)
    session.install("build")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder / "dist"), silent=True)
    (built,) = (folder / "dist").glob("*.whl")
    session.install(f"fooocus-nb[test] @ {built.as_uri()}")
    clone = _clone(session, folder)
    # Tests of its scripts and links look at the other files where they are in a checkout.
    for source in (clone / "fooocus_nb").rglob("*.py"):
        source.unlink()
    session.chdir(clone)
    # In a browser the wheel is tried once, with the newest.
    browser = ["-m", "not slow"] if session.python == PYTHONS[-1] else []
    options = [*browser, *PARALLEL, *session.posargs]
    session.run("pytest", *options, env={"FOOOCUS_NB_ALL_EXAMPLES": "1"})


@nox.session(tags=["all"])
def oldest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that pyproject.toml allows."""
    constraints = _workspace(session) / "constraints.txt"
    lines = session.run("python", "tests/tools/make_constraints.py", silent=True)
    constraints.write_text(str(lines), encoding="utf-8")
    session.install("-c", str(constraints), "-e", ".[test]")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session(tags=["all"])
def slow(session: nox.Session) -> None:
    """Run soaks, endurance tests, and those in other environments, such as hosted notebooks'."""
    session.install("-e", ".[test]")
    session.run(
        "pytest", "-m", "slow", "-p", "schemathesis", "--timeout=3600", *PARALLEL, *session.posargs
    )
