"""Log lines turned into explained, typed errors.

A prompt is echoed into the log too, so every pattern is held to where Python and Fooocus write
their own messages: the start of a line, or the last line of a traceback.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fooocus_nb.errors import (
    EngineDied,
    EngineError,
    GenerationError,
    ModelNotFound,
    NetworkError,
    OutOfMemory,
    WorkerDead,
)
from fooocus_nb.fooocus.logs.rules import (
    BAD_CONFIG,
    NOTICES,
    RULES,
    SIGNALS,
    STOPPED,
    WINDOWS_CODES,
    WORKER,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Diagnosis", "Notice", "diagnose", "notices", "stopped", "traceback_of"]

#: Longer lines are looked at, and shown, only up to here.
MAX_LINE = 2000
#: How many frames of the engine's own code a shown traceback keeps, the innermost ones.
MAX_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What went wrong, for people and for ``except``.

    Attributes
    ----------
    error : type of EngineError
        The exception to raise.
    cause : str
        What happened.
    remedy : str
        What to do next.
    lines : tuple of str
        The log lines that show it, cut to what matters.
    """

    error: type[EngineError]
    cause: str
    remedy: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """A log line that is no failure but worth knowing.

    Attributes
    ----------
    meaning : str
        What it means.
    remedy : str
        What can be done about it.
    line : str
        The line.
    """

    meaning: str
    remedy: str
    line: str


_TRACEBACK = "Traceback (most recent call last):"
_CONNECTORS = ("During handling of the above exception", "The above exception was the direct")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FRAME = re.compile(r'^  File "(?P<file>[^"]*)", line \d+')
_FOREIGN = re.compile(
    r"site-packages|dist-packages|[\\/]lib[\\/]python3|[\\/]Lib[\\/](?!site)|^<frozen"
)
_ERROR_LINE = re.compile(r"^[A-Za-z_][\w.]*(?::|$)")
_DOWNLOADING = re.compile(r'^Downloading: "(?P<url>[^"]+)" to (?P<path>.+)')


def diagnose(lines: Sequence[str], *, returncode: int | None = None) -> Diagnosis | None:
    """Say what the engine's log lines mean.

    Parameters
    ----------
    lines : sequence of str
        The lines of one generation, or the last lines of an engine that died; oldest first.
    returncode : int, optional
        How the process ended: negative for a signal, as `subprocess` has it.

    Returns
    -------
    Diagnosis or None
        What went wrong; None where the lines tell of no failure.
    """
    clean = [_ANSI.sub("", line[:MAX_LINE]).rstrip() for line in lines]
    if returncode is not None:
        return _of_death(clean, returncode)
    found = _of_failure(clean)
    if any(WORKER.pattern.match(line) for line in clean):
        cause, remedy, shown = (found.cause, found.remedy, found.lines) if found else ("", "", ())
        return Diagnosis(
            WorkerDead,
            f"{WORKER.cause} {cause}".rstrip(),
            f"{remedy} {WORKER.remedy}".lstrip(),
            shown,
        )
    if found is None:
        stopped = next((line for line in reversed(clean) if STOPPED.pattern.match(line)), None)
        return _by_stop(stopped) if stopped else None
    return found


def stopped(lines: Sequence[str]) -> bool:
    """Return whether the log says that a generation was stopped, by whomever."""
    return any(STOPPED.pattern.match(line) for line in lines)


def notices(lines: Sequence[str]) -> tuple[Notice, ...]:
    """Return what is worth knowing in the log although nothing failed.

    Parameters
    ----------
    lines : sequence of str
        Log lines, oldest first.

    Returns
    -------
    tuple of Notice
        In the order of the lines; each line once.
    """
    found: dict[str, Notice] = {}
    for raw in lines:
        line = _ANSI.sub("", raw[:MAX_LINE]).rstrip()
        for rule in NOTICES:
            if match := rule.pattern.match(line):
                meaning = rule.meaning.format_map(match.groupdict())
                found.setdefault(line, Notice(meaning, rule.remedy, line))
                break
    return tuple(found.values())


def traceback_of(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the last Python traceback, cut to what matters.

    Frames of installed packages and of the standard library are left out, but for the innermost
    one; of an exception that was raised while another was handled, the last one is shown.

    Parameters
    ----------
    lines : sequence of str
        Log lines, oldest first.

    Returns
    -------
    tuple of str
        The heading, the frames and the exception; empty where there is no whole traceback.
    """
    for start in range(len(lines) - 1, -1, -1):
        if lines[start].rstrip().endswith(_TRACEBACK):
            cut = _cut(lines, start)
            if cut:
                return cut
    return ()


def _cut(lines: Sequence[str], start: int) -> tuple[str, ...]:
    frames: list[list[str]] = []
    for index in range(start + 1, len(lines)):
        line = lines[index][:MAX_LINE].rstrip()
        if _FRAME.match(line):
            frames.append([line])
        elif line.startswith("  ") and frames:
            frames[-1].append(line)
        elif line.startswith("  "):  # the marks of a syntax error, or frames cut off before
            continue
        elif _ERROR_LINE.match(line):
            kept = [line for frame in _matter(frames) for line in frame]
            return (_TRACEBACK, *kept, line)
        else:
            return ()
    return ()


def _matter(frames: list[list[str]]) -> Iterator[list[str]]:
    own = [frame for frame in frames if not _is_foreign(frame)]
    own = own[-MAX_FRAMES:]
    for frame in frames:
        if any(frame is kept for kept in own) or frame is frames[-1]:
            # The rows of ^^^^ point into a line that may be broken differently here.
            yield [line for line in frame if line.strip(" ~^")]


def _is_foreign(frame: list[str]) -> bool:
    match = _FRAME.match(frame[0])
    return bool(match and _FOREIGN.search(match["file"]) and "fooocus_nb" not in match["file"])


def _of_failure(lines: Sequence[str]) -> Diagnosis | None:
    """Explain the last failure in the log of a process that lives."""
    shown = traceback_of(lines)
    # An earlier failure's words must not explain a later one's traceback.
    found = _known(lines[_last_chain(lines) :])
    if found is None or found.error in (EngineError, GenerationError):
        found = _of_config(shown) or found or _unknown(shown)
    if found is None:
        return None
    return _in_context(replace(found, lines=shown or found.lines), lines)


def _of_death(lines: Sequence[str], returncode: int) -> Diagnosis | None:
    """Explain why a process ended."""
    failure = _of_failure(lines)
    if failure is not None and issubclass(failure.error, OutOfMemory):
        return failure
    killed = _by_returncode(returncode)
    if killed is None and lines and lines[-1] == "^C":  # what hosted notebooks do out of memory
        killed = Diagnosis(*SIGNALS["SIGKILL"])
    if killed is not None:
        return replace(killed, lines=tuple(lines[-5:]))
    if failure is None or returncode == 0:
        return None  # a process that ends without error did not end by an old failure
    if failure.error is GenerationError:
        return replace(failure, error=EngineDied, cause=f"The engine ended: {failure.lines[-1]}")
    return failure


def _last_chain(lines: Sequence[str]) -> int:
    """Return where the last traceback begins, with those of the exceptions that led to it."""
    first = 0
    for index in range(len(lines) - 1, -1, -1):
        if not lines[index].endswith(_TRACEBACK):
            continue
        first = index
        before = index - 1
        while before >= 0 and not lines[before].strip():
            before -= 1
        if before < 0 or not lines[before].startswith(_CONNECTORS):
            break
    return first


def _known(lines: Sequence[str]) -> Diagnosis | None:
    """Return what the most telling rule says about the last failure."""
    for rule in RULES:
        for line in reversed(lines):
            if match := rule.pattern.match(line):
                values = {name: value or "" for name, value in match.groupdict().items()}
                cause, remedy = (
                    text.format_map(_Reprs(values)) for text in (rule.cause, rule.remedy)
                )
                return Diagnosis(rule.error, cause, remedy, (line,))
    return None


def _of_config(shown: tuple[str, ...]) -> Diagnosis | None:
    """Explain a traceback that ends where Fooocus reads its settings."""
    own = [line for line in shown if _FRAME.match(line) and not _is_foreign([line])]
    if not own or not BAD_CONFIG.pattern.match(own[-1]):
        return None
    return Diagnosis(BAD_CONFIG.error, BAD_CONFIG.cause.format(what=shown[-1]), BAD_CONFIG.remedy)


def _in_context(found: Diagnosis, lines: Sequence[str]) -> Diagnosis:
    """Add what earlier lines tell: what was downloaded, and that the settings were ignored."""
    if found.error not in (NetworkError, ModelNotFound):
        return found
    downloads = [match for line in lines if (match := _DOWNLOADING.match(line))]
    if downloads and found.error is NetworkError:
        url, path = downloads[-1]["url"], downloads[-1]["path"].strip()
        found = replace(
            found,
            cause=f"The engine could not download {url}",
            remedy=f"{found.remedy} It belongs to {path}",
        )
    ignored = NOTICES[0]
    if any(ignored.pattern.match(line) for line in lines):
        remedy = f"{found.remedy} Perhaps it is there already: {ignored.meaning} {ignored.remedy}"
        found = replace(found, remedy=remedy)
    return found


class _Reprs(dict[str, str]):
    """Values that come from a log: they may hold braces, but never ask for attributes."""

    def __missing__(self, key: str) -> str:
        return f"({key} not told)"


def _by_returncode(returncode: int) -> Diagnosis | None:
    """Explain an end by a signal; shells and Windows have numbers of their own for it."""
    number = -returncode if returncode < 0 else returncode - 128
    name = WINDOWS_CODES.get(returncode & 0xFFFFFFFF, "")
    if not name and 0 < number < 65:
        try:
            name = signal.Signals(number).name
        except ValueError:
            return None
    if name in SIGNALS:
        return Diagnosis(*SIGNALS[name])
    if returncode < 0 and name:
        return Diagnosis(EngineDied, f"The engine was ended by {name}.", "")
    return None


def _unknown(shown: tuple[str, ...]) -> Diagnosis | None:
    """Describe a traceback that no rule knows by its own words.

    One that never went through Fooocus's own code is the web server's, such as for a browser
    that went away, and no failure of ours.
    """
    if not any(_FRAME.match(line) and not _is_foreign([line]) for line in shown):
        return None
    return Diagnosis(GenerationError, f"The generation failed in the engine: {shown[-1]}", "")


def _by_stop(line: str) -> Diagnosis:
    return Diagnosis(STOPPED.error, STOPPED.cause, STOPPED.remedy, (line,))
