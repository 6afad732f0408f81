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

from fooocus_nb._secrets import MASK, redact

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
#: A slash that begins a path: no part of a word, an address or a tag ends before it.
_START = r"(?<![\w.~/\\<&-])(?<!:(?=//))"
_POSIX = re.compile(rf"{_START}(?:~[\w.-]*(?=/)|)/(?:{_PART}/+)*{_PART}/?")
_HOME = re.compile(rf"(?<![\w.~/:\\-])~[\w.-]*/(?:{_PART}/+)*{_PART}/?")
#: The folder of an account: on Windows its name may have blanks.
_ACCOUNT = re.compile(
    r"(?<!\w)[A-Za-z]:[\\/]+(?:Users|Documents and Settings)[\\/]+[^\\/'\"<>|:\n]+[\\/]+"
)
_ONLY_ACCOUNT = re.compile(r"(?:[A-Za-z]:)?[\\/]+(?:home|Users)[\\/]+[^\\/]+")
_WINDOWS = re.compile(r"(?<!\w)(?:[A-Za-z]:[\\/]|\\\\[\w.-]+\\)[^\s'\"<>|:;,()\[\]{}]*")
#: In a prompt, what begins with these is a path; "/imagine a lake" is none.
_PRIVATE = re.compile(
    rf"(?:{_START}|(?<=-[A-Za-z]))"
    rf"/(?:home|Users|root|mnt|media|tmp|var|opt|srv|private|Volumes)/(?:{_PART}/+)*{_PART}"
)
_PRIVATE_WINDOWS = re.compile(
    r"(?<!\w)(?:[A-Za-z]:|\\\\[\w.-]+)(?:[\\/]+[^\s\\/'\"<>|:;,()\[\]{}]+){2,}"
)
#: Somebody at a machine, or their address for mail; not a product of matrices, which goes on.
_AT_HOST = re.compile(
    r"(?<![\w/.+@-])[\w.+-]+@(?:(?:[\w-]+\.)+[a-z]{2,}|\d+\.\d+\.\d+\.\d+)\b(?![(\[])",
    re.IGNORECASE,
)
#: Addresses within a network.
_LOCAL_ADDRESS = re.compile(
    r"(?<![\w.])(?:10\.\d+|172\.(?:1[6-9]|2\d|3[01])|192\.168|169\.254)\.\d+\.\d+(?::\d+)?(?![\w.])"
)
#: Tokens that are known by their form, whatever they are called.
_TOKENS = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{35}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"
    r"|\b(?:xox[abeoprs]-|glpat-|dckr_pat_|pypi-|npm_|r8_|nvapi-|dapi|lin_api_|SG\.)[\w.-]{20,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_CALLED = r"pass(?:word|wd|phrase)|secret|token|api_?key|access_?key|private_?key|auth|pwd"
_LITERAL = rf"""(\"\"\"|\'\'\'|["'])(?!{re.escape(MASK)})(?:(?!\2)[^\\\n]|\\.)+\2"""
#: ``MY_PASSWORD = "secret"``, ``os.environ["X_TOKEN"] = "secret"``: what is written in code.
_ASSIGNED = re.compile(
    rf"""(?ix)((?:\b|_)(?:{_CALLED})(?:_\w+)?(?:["']\s*\])?\s*(?::\s*\w+\s*)?=(?!=)\s*[a-z]{{0,2}}
    |\b(?:setdefault|putenv)\(\s*["']\w*(?:{_CALLED})\w*["']\s*,\s*){_LITERAL}"""
)
#: What else is called a key is one only where it looks like one.
_KEY = re.compile(r"(?i)((?:\b|_)key(?:[\"']\s*\])?\s*=\s*)([\"'])(?=[^\"']*\d)[\w+/=.-]{16,}\2")
#: ``%env X_TOKEN secret``, ``X_SECRET_ACCESS_KEY=secret`` and ``curl -u me:secret``, as in a shell.
_SHELL = re.compile(
    rf"(?im)((?:\b|_)(?:{_CALLED})(?:_\w+)?=|%env[ ]+\w*(?:{_CALLED})\w*[ ]+|[ ]-u[ ]+(?=[^\s:]+:))"
    rf"(?![\s\"'=*]|\w+[(.\[])[^\s\"',;()\[\]{{}}]+"
)
#: ``password: secret``, as people write it down.
_TOLD = re.compile(r"(?i)\b(pass(?:word|wd|phrase)\s*(?::|\bis\b)\s*)(?![\"'*])[^\s,;]+")
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
        found = _TOKENS.sub(MASK, redact(text))
        if kind == "free":
            found = _without_written_secrets(found)
        if "/" in found or "\\" in found:
            found = self._without_paths(found, kind)
        if kind == "free":
            found = _LOCAL_ADDRESS.sub("host", _AT_HOST.sub("somebody@host", found))
        if kind == "free" and self._names is not None:
            found = self._names.sub("somebody", found)
        return found

    def _without_paths(self, text: str, kind: str) -> str:
        if self._roots is not None:
            text = self._roots.sub("~", text)
        if _ONLY_ACCOUNT.fullmatch(text.rstrip("/\\")):
            return "~"
        whole = re.match(r"[A-Za-z]:[\\/]|\\\\", text) and "\n" not in text
        text = _ACCOUNT.sub("~/", text)
        if kind == "prompt":
            return _PRIVATE_WINDOWS.sub(_name_of, _PRIVATE.sub(_name_of, text))
        text = _FILE_URL.sub(_name_of, text)
        text = _URL.sub(_public_host, text)
        if "\n" not in text and text.startswith(("/", "~/")) and text.count("/") > 1:
            return PurePosixPath(text).name  # all of it, blanks included
        if whole:
            return PureWindowsPath(text).name
        for pattern in (_WINDOWS, _HOME, _PRIVATE, _POSIX):
            text = pattern.sub(_name_of, text)
        return text


def _kind(key: str, outer: str) -> str:
    if key in _PROMPTS:
        return "prompt"
    return "value" if key in _VALUES else outer


def _without_written_secrets(text: str) -> str:
    """Return code or a note without the secrets that somebody has written into it."""
    for pattern, mask in (
        (_ASSIGNED, rf"\1\2{MASK}\2"),
        (_KEY, rf"\1\2{MASK}\2"),
        (_SHELL, rf"\1{MASK}"),
        (_TOLD, rf"\1{MASK}"),
    ):
        text = pattern.sub(mask, text)
    return text


def _name_of(found: re.Match[str]) -> str:
    path = found[0].rstrip("/\\")
    if _ONLY_ACCOUNT.fullmatch(path):
        return "~"
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
