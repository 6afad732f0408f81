"""Remove paths, secrets and names of people and machines from texts that are given away."""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import platform
import re
import socket
import tempfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from fooocus_nb._secrets import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Scrubber"]

#: Names of accounts and machines that tell nothing about anybody, and are words besides.
_COMMON = frozenset(
    (
        *("root", "user", "admin", "ubuntu", "debian", "jovyan", "runner", "colab", "kaggle"),
        *("localhost", "docker", "python", "fooocus", "demo", "home", "guest", "default"),
    )
)
MIN_NAME = 3
#: Hosts that everybody knows; the address of any other is somebody's machine.
_PUBLIC = re.compile(
    r"(?:[\w-]+\.)*(?:github\.com|githubusercontent\.com|huggingface\.co|civitai\.com|pypi\.org)",
    re.IGNORECASE,
)
_URL = re.compile(r"\b(https?|wss?|ftp|ssh)://([^\s/?#'\"<>]+)", re.IGNORECASE)
_FILE_URL = re.compile(r"\bfile://[^\s'\"<>]+", re.IGNORECASE)
_PART = r"[^\s/'\"<>|:;,()\[\]{}]+"
_POSIX = re.compile(rf"(?<![\w.~/:\\<&-])(?:~[\w.-]*(?=/)|)/(?:{_PART}/+)*{_PART}/?")
_HOME = re.compile(rf"(?<![\w.~/:\\-])~[\w.-]*/(?:{_PART}/+)*{_PART}/?")
_WINDOWS = re.compile(r"(?<!\w)(?:[A-Za-z]:[\\/]|\\\\[\w.-]+\\)[^\s'\"<>|:;,()\[\]{}]*")
#: In a prompt, what begins with these is a path; "/imagine a lake" is none.
_PRIVATE = re.compile(
    rf"(?<![\w.~/:\\<-])/(?:home|Users|root|mnt|media|tmp|var|opt|srv|private|Volumes)/"
    rf"(?:{_PART}/+)*{_PART}"
)
#: Texts that decide the outcome: they are changed as little as possible.
_PROMPTS = frozenset({"prompt", "negative_prompt", "expansion"})
#: Values that decide the outcome; a name in them is that of a model, not of somebody.
_VALUES = frozenset({"parameters", "values", "axes", "base", "models", "given"})


class Scrubber:
    """Removes from texts what tells where and by whom a run was made.

    Parameters
    ----------
    roots : iterable of path-like
        Folders whose names are removed wherever they stand, besides those of this account.
    """

    def __init__(self, roots: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._roots = _pattern_of_roots(roots)
        self._names = _pattern_of_names()
        #: How many texts were changed.
        self.changed = 0
        self._text = functools.lru_cache(20_000)(self._scrubbed)

    def value(self, value: Any, kind: str = "free") -> Any:
        """Return a value of JSON without all that; `kind` is free, value or prompt."""
        if isinstance(value, str):
            return self.text(value, kind)
        if isinstance(value, (list, tuple)):
            return [self.value(each, kind) for each in value]
        if isinstance(value, dict):
            return {
                (self.text(key, "value") if key.startswith(("/", "~", "\\")) else key): self.value(
                    each, _kind(key, kind)
                )
                for key, each in value.items()
            }
        return value

    def text(self, text: str, kind: str = "free") -> str:
        """Return a text without all that."""
        found = self._text(text, kind)
        self.changed += found != text
        return found

    def _scrubbed(self, text: str, kind: str) -> str:
        found = redact(text)
        if "/" in found or "\\" in found:
            found = self._without_paths(found, kind)
        if kind == "free" and self._names is not None:
            found = self._names.sub("somebody", found)
        return found

    def _without_paths(self, text: str, kind: str) -> str:
        if self._roots is not None:
            text = self._roots.sub("~", text)
        if kind == "prompt":
            return _PRIVATE.sub(_name_of, text)
        text = _FILE_URL.sub(_name_of, text)
        text = _URL.sub(_public_host, text)
        if "\n" not in text and text.startswith(("/", "~/")) and text.count("/") > 1:
            return PurePosixPath(text).name  # all of it, blanks included
        if re.match(r"[A-Za-z]:[\\/]|\\\\", text) and "\n" not in text:
            return PureWindowsPath(text).name
        for pattern in (_WINDOWS, _HOME, _POSIX):
            text = pattern.sub(_name_of, text)
        return text


def _kind(key: str, outer: str) -> str:
    if key in _PROMPTS:
        return "prompt"
    return "value" if key in _VALUES else outer


def _name_of(found: re.Match[str]) -> str:
    path = found[0].rstrip("/\\")
    return re.split(r"[\\/]", path)[-1].lstrip("~") or "path"


def _public_host(found: re.Match[str]) -> str:
    return found[0] if _PUBLIC.fullmatch(found[2]) else f"{found[1]}://host"


def _pattern_of_roots(given: Iterable[str | os.PathLike[str]]) -> re.Pattern[str] | None:
    roots: set[str] = set()
    for path in (*given, tempfile.gettempdir()):
        roots.add(os.fspath(path))
    for make in (Path.home, Path.cwd):
        with contextlib.suppress(OSError, RuntimeError):
            roots.add(os.fspath(make()))
    for root in list(roots):
        with contextlib.suppress(OSError):
            roots.add(os.path.realpath(root))
    forms = {form for root in roots for form in (root, root.replace("\\", "/")) if len(form) > 3}
    words = sorted(forms, key=len, reverse=True)
    return re.compile(rf"(?:{'|'.join(map(re.escape, words))})(?![\w-])") if words else None


def _pattern_of_names() -> re.Pattern[str] | None:
    names: set[str] = set()
    with contextlib.suppress(OSError, KeyError, ImportError):
        names.add(getpass.getuser())
    with contextlib.suppress(OSError, RuntimeError):
        names.add(Path.home().name)
    with contextlib.suppress(OSError):
        names |= {socket.gethostname(), socket.gethostname().partition(".")[0], platform.node()}
    words = [name for name in names if len(name) >= MIN_NAME and name.casefold() not in _COMMON]
    words.sort(key=len, reverse=True)
    if not words:
        return None
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, words))})(?![\w-])", re.IGNORECASE)
