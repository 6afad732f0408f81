"""Finds a Fooocus checkout on disk: its version, its interpreter and the flags that it accepts.

Nothing of the checkout is run or imported here; its source is only read.
"""

from __future__ import annotations

import ast
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from fooocus_nb.errors import InstallError
from fooocus_nb.fooocus.checkout._source import called_name, parse_source

__all__ = ["Installation", "find_checkout", "find_installation", "find_python", "read_version"]

WINDOWS = os.name == "nt"
LAUNCHER = "launch.py"
VERSION_FILES = ("fooocus_version.py", "version.py")
#: Where the different versions define their command line, as folders below the checkout.
FLAG_FILES = (
    "args_manager.py",
    "ldm_patched/modules/args_parser.py",
    "backend/headless/fcbh/cli_args.py",
    "fcbh/cli_args.py",
)
#: Environments that people and installers put in a checkout or beside it.
ENVIRONMENTS = (
    "venv",
    ".venv",
    "env",
    "fooocus_env",
    "conda_env",
    "python_embeded",
    "python_embedded",
    "../python_embeded",
    "../python_embedded",
    "../venv",
    "../.venv",
    "../fooocus_env",
)
WINDOWS_INTERPRETERS = ("python.exe", "Scripts/python.exe", "bin/python.exe")
INTERPRETERS = WINDOWS_INTERPRETERS if WINDOWS else ("bin/python3", "bin/python")


@dataclass(frozen=True)
class Installation:
    """A Fooocus that can be started."""

    #: The checkout: the folder with ``launch.py``.
    path: Path
    #: Its version, such as ``2.5.5``.
    version: str
    #: The interpreter that Fooocus is installed in.
    python: Path
    #: Every long flag that this version accepts; empty where its source does not tell.
    flags: frozenset[str] = frozenset()


def find_installation(
    path: str | os.PathLike[str], *, python: str | os.PathLike[str] | None = None
) -> Installation:
    """Find the checkout, version, interpreter and flags of an installation."""
    checkout = find_checkout(path)
    version = read_version(checkout)
    return Installation(checkout, version, find_python(checkout, python), _flags(checkout))


def find_checkout(path: str | os.PathLike[str]) -> Path:
    """Return the checkout at a path: the folder, one in it, or the one that holds the file."""
    path = Path(path).expanduser()
    try:
        if not path.exists():
            msg = (
                f"There is no folder {str(path)!r}. Give the folder that holds Fooocus's launch.py."
            )
            raise InstallError(msg)
        if path.is_file() and path.name in {LAUNCHER, "entry_with_update.py", "webui.py"}:
            path = path.parent
        for candidate in (path, path / "Fooocus", path / "fooocus"):
            if (candidate / LAUNCHER).is_file():
                return candidate.resolve()
    except OSError as error:
        msg = f"The folder {str(path)!r} cannot be read: {error.strerror or error}."
        raise InstallError(msg) from error
    msg = (
        f"{str(path)!r} is no Fooocus checkout: it holds no {LAUNCHER}. "
        "Get one with: git clone https://github.com/lllyasviel/Fooocus"
    )
    raise InstallError(msg)


def read_version(checkout: Path) -> str:
    """Return the version of a checkout, such as ``2.5.5``."""
    for name in VERSION_FILES:
        tree = parse_source(checkout / name)
        if tree is None:
            continue
        for node in tree.body:
            value = _assigned(node, "version") or _assigned(node, "__version__")
            if value:
                return value
    msg = (
        f"{str(checkout)!r} holds a {LAUNCHER}, but no version can be read from "
        f"{' or '.join(VERSION_FILES)}. Is the checkout complete?"
    )
    raise InstallError(msg)


def _assigned(node: ast.stmt, name: str) -> str | None:
    """Return the text that a plain assignment gives to `name`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return None
    named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
    if named and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value.strip()
    return None


def find_python(checkout: Path, python: str | os.PathLike[str] | None = None) -> Path:
    """Return the given interpreter, else that of an environment in or beside the checkout."""
    # Never the interpreter that runs this: Fooocus needs packages of its own.
    return _named_python(python) if python else _own_python(checkout)


def _named_python(python: str | os.PathLike[str]) -> Path:
    given = Path(python).expanduser()
    if given.is_dir():
        found = _interpreter_in(given)
        if found is None:
            msg = f"python={str(python)!r} is a folder that holds no Python interpreter."
            raise InstallError(msg)
        return found
    if given.parent == Path() and not given.is_file():
        command = shutil.which(str(given))
        if command is None:
            msg = f"python={str(python)!r}: there is no such command on the PATH."
            raise InstallError(msg)
        return Path(command)
    if WINDOWS and not given.suffix:
        given = given.with_suffix(".exe")
    if not given.is_file():
        msg = f"python={str(python)!r}: there is no such file{_dangling(given)}."
        raise InstallError(msg)
    if not os.access(given, os.X_OK):
        msg = f"python={str(python)!r} may not be executed."
        raise InstallError(msg)
    return given.absolute()  # not resolved: a venv's python is a link, and must stay one


def _own_python(checkout: Path) -> Path:
    broken = ""
    for environment in ENVIRONMENTS:
        folder = Path(os.path.normpath(checkout / environment))
        found = _interpreter_in(folder)
        if found is not None:
            return found
        for name in INTERPRETERS:
            if (folder / name).is_symlink():
                broken = f" {folder / name} is there{_dangling(folder / name)}."
    msg = (
        f"No Python interpreter was found for the Fooocus in {str(checkout)!r}.{broken} "
        f"Looked for the environments {', '.join(ENVIRONMENTS)}. Name the interpreter that "
        "Fooocus is installed in with python=, such as python='/opt/fooocus-env/bin/python' (in a "
        "magic and on the command line --python); if it really is the notebook's own, say "
        "python=sys.executable."
    )
    raise InstallError(msg)


def _interpreter_in(folder: Path) -> Path | None:
    for name in INTERPRETERS:
        candidate = folder / name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.absolute()
    return None


def _dangling(path: Path) -> str:
    if path.is_symlink():
        return f", but it is a link to {path.readlink()}, which is gone"
    return ""


def _flags(checkout: Path) -> frozenset[str]:
    """Return the flags of this version; none where not all of them can be read."""
    flags = {"--help"}
    has_parser = False
    for name in FLAG_FILES:
        path = checkout / name
        if not path.is_file():
            continue
        tree = parse_source(path)
        if tree is None:
            return frozenset()
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = called_name(node)
            has_parser = has_parser or called == "ArgumentParser"
            if called == "add_argument":
                found = _flags_of(node)
                if found is None:
                    return frozenset()
                flags |= found
    return frozenset(flags) if has_parser else frozenset()


def _flags_of(node: ast.Call) -> set[str] | None:
    """Return the long flags of one ``add_argument`` call, or None where they are computed."""
    names: set[str] = set()
    for argument in node.args:
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            return None
        if argument.value.startswith("--"):
            names.add(argument.value)
    negatable = any(
        keyword.arg == "action" and "BooleanOptionalAction" in ast.unparse(keyword.value)
        for keyword in node.keywords
    )
    return names | {f"--no-{name[2:]}" for name in names} if negatable else names
