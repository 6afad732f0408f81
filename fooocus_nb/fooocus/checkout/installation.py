"""Finds a Fooocus checkout on disk: its version and the flags that it accepts.

Nothing of the checkout is run or imported here; its source is only read.
"""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fooocus_nb.errors import InstallError, nearest
from fooocus_nb.fooocus.checkout._source import called_name, is_there, parse_source
from fooocus_nb.fooocus.checkout.interpreter import find_python

__all__ = [
    "Installation",
    "find_checkout",
    "find_installation",
    "locate_checkout",
    "read_version",
]

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
#: Where a checkout is below a folder that somebody names: in an archive's, in a Pinokio app's.
INNER = ("", "Fooocus", "fooocus", "app")
#: Where programs that install others keep them, each in a folder of its own: StabilityMatrix (with
#: and without its portable mode) and Pinokio.
MANAGERS = ("", "Data/Packages", "Packages", "api")
#: Files that people name instead of the folder that they stand in.
SCRIPTS = {".bat", ".cmd", ".ps1", ".py", ".sh"}
ARCHIVES = {".7z", ".gz", ".rar", ".tar", ".zip"}
_DRIVE = re.compile(r"([A-Za-z]):[\\/](.*)", re.DOTALL)
#: A folder in WSL as Windows names it, behind the name of the system.
_WSL = re.compile(r"[\\/]{2}wsl(?:\$|\.localhost)[\\/][^\\/]+(.*)", re.DOTALL | re.IGNORECASE)
_ADDRESS = re.compile(r"(?:https?|git|ssh)://|git@", re.IGNORECASE)
#: What stands around a path that was copied from a text, by what it begins with.
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u2018": "\u2019", "\u201c": "\u201d"}
#: What nobody sees and copying brings along.
_INVISIBLE = "\u200b\u200e\u200f\u2060\ufeff"
#: A shell writes a space in a path as a backslash and a space.
_ESCAPED = re.compile(r"\\(.)")


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
    place = locate_checkout(path)
    checkout = place.resolve()
    version = read_version(checkout)
    return Installation(checkout, version, find_python(place, python), _flags(checkout))


def find_checkout(path: str | os.PathLike[str]) -> Path:
    """Return the checkout at a path, links resolved; see :func:`locate_checkout`."""
    return locate_checkout(path).resolve()


def locate_checkout(path: str | os.PathLike[str]) -> Path:
    """Return the checkout at a path: the folder, one in it, or the one that holds the file.

    Links are kept: an environment may stand beside one.
    """
    given, path = path, _cleaned(path)
    try:
        if not path.exists():
            hint = _hint(os.fspath(given), path)
            msg = f"There is no folder {str(path)!r}. {hint}"
            raise InstallError(msg)
        if path.is_file() and path.suffix.casefold() in SCRIPTS:
            path = path.parent
        for candidate in dict.fromkeys(path / name for name in INNER):
            if (candidate / LAUNCHER).is_file():
                return candidate.absolute()
        below = _one_level_down(path)
        if len(below) == 1:
            return below[0].absolute()
        msg = f"{os.fspath(given)!r} is no Fooocus checkout: {_missing(path, below)}"
    except OSError as error:
        msg = f"The folder {str(path)!r} cannot be read: {error.strerror or error}."
        raise InstallError(msg) from error
    raise InstallError(msg)


def _cleaned(path: str | os.PathLike[str]) -> Path:
    """Return a path without what copying it or a shell would have left or resolved."""
    text = os.fspath(path)
    if is_there(text):
        return Path(text)
    text = text.strip().strip(_INVISIBLE).strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1]
    if text.startswith("file:"):
        return Path(url2pathname(urlsplit(text.replace("\\", "/")).path))
    bare = text if WINDOWS else _ESCAPED.sub(r"\1", text)
    for meant in (os.path.expandvars(text), bare):
        found = os.path.expanduser(meant)  # noqa: PTH111 - pathlib raises without a home
        if is_there(found):
            return Path(found)
    return Path(os.path.expanduser(os.path.expandvars(text)))  # noqa: PTH111 - as above


def _one_level_down(folder: Path) -> list[Path]:
    """Return the checkouts in the folders of a folder, as of an archive or a program's home."""
    homes = [home for name in MANAGERS if (home := folder / name).is_dir()]
    children = dict.fromkeys(child for home in homes for child in sorted(home.iterdir()))
    # Other programs have a launch.py, too: here it takes a version as well.
    found = [
        candidate
        for child in children
        for candidate in dict.fromkeys(child / name for name in INNER)
        if is_there(candidate / LAUNCHER) and _has_version(candidate)
    ]
    # Where the system takes fooocus for Fooocus, one has been found by two names.
    return list({os.path.realpath(each): each for each in reversed(found)}.values())[::-1]


def _has_version(folder: Path) -> bool:
    return any(is_there(folder / name) for name in VERSION_FILES)


def _missing(path: Path, below: list[Path]) -> str:
    """Say why a path is no checkout, and what would be one."""
    if below:
        return f"it holds several. Give one of them: {', '.join(map(str, below))}"
    above = next((folder for folder in path.parents[:3] if _has_version(folder)), None)
    if above is not None and (above / LAUNCHER).is_file():
        return f"it holds no {LAUNCHER}, but {str(above)!r} does: give that folder."
    if path.suffix.casefold() in ARCHIVES:
        return "it is a packed archive. Unpack it, and give the folder that this makes."
    return f"it holds no {LAUNCHER}. To get one: fooocus-nb install"


def _hint(given: str, path: Path) -> str:
    """Say what may be meant by a path that is not there."""
    text = str(path)
    if not WINDOWS and (drive := _DRIVE.fullmatch(text)) is not None:
        there = f"/mnt/{drive[1].lower()}/" + drive[2].replace("\\", "/")
        return f"That is a path of Windows; in WSL the same folder is {there!r}."
    if not WINDOWS and (inside := _WSL.fullmatch(text)) is not None:
        there = inside[1].replace("\\", "/") or "/"
        return f"That is how Windows names a folder of WSL; in WSL itself it is {there!r}."
    if _ADDRESS.match(given):
        return (
            "That is an address: fooocus_nb.connect(...) uses a server that runs there, and "
            "fooocus-nb install gets Fooocus from a git repository."
        )
    if "$" in text or "%" in text:
        return "It names a variable that is not set where the kernel was started."
    if text.startswith("~"):
        return "Nothing tells where this user's home is: give the whole path."
    like = nearest(path.name, _names_beside(path))
    return f"Give the folder that holds Fooocus's {LAUNCHER}, or get one: fooocus-nb install.{like}"


def _names_beside(path: Path) -> list[str]:
    try:
        return [each.name for each in path.parent.iterdir() if each.is_dir()]
    except OSError:
        return []


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
