"""Split a log into what was raised and what was merely printed, for `diagnosis`."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fooocus_nb.fooocus.logs.torn_lines import QUOTED, mend, traceback_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "ANSI",
    "CONNECTORS",
    "FRAME",
    "MAX_LINE",
    "RAISED_ALONE",
    "THREAD",
    "THREAD_FRAME",
    "TRACEBACK",
    "WORKER_FRAME",
    "Event",
    "events_of",
    "is_foreign",
]

#: Longer lines are looked at, and shown, only up to here.
MAX_LINE = 2000
#: Of the message of one exception, looked at only up to here: patterns search all of it.
MAX_MESSAGE = 1500
MAX_MESSAGE_LINES = 40
#: How many lines of other threads may stand within one traceback, at most.
MAX_BETWEEN = 60

TRACEBACK = "Traceback (most recent call last):"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FRAME = re.compile(r'^  File "(?P<file>[^"]*)", line \d+')
#: Up to Python 3.9 the name of the thread's function is missing.
THREAD = re.compile(r"^Exception in thread (?P<thread>[^(]*?)(?: \((?P<target>.*)\))?:?$")
#: Where Fooocus and nearly all of its forks have their worker, or what its function is called.
WORKER_FRAME = re.compile(
    r'^  File "(?:(?:[^"]*[\\/])?async_worker\.pyc?", line \d+|.*, in worker$)'
)
#: Where Gradio hands a request of the page to the function behind it.
REQUEST_FRAME = re.compile(r"[\\/]gradio[\\/](?:routes|queueing|blocks)\.py")
#: Where each thread but the main one begins. What a thread has caught itself does not show it, so
#: a traceback with it has ended a thread, also where the heading cannot be read.
THREAD_FRAME = re.compile(r'[\\/"]threading\.pyc?", line \d+, in (?:_bootstrap_inner|run)$')
CONNECTORS = ("During handling of the above exception", "The above exception was the direct")
_SERVERS = re.compile(r"^ERROR: +Exception in ASGI application")
_FOREIGN = re.compile(
    r"site-packages|dist-packages|[\\/]lib[\\/]python3|[\\/]Lib[\\/](?!site)|^<|\.pyx$"
)
#: An embedded Python names its library's files without a folder.
_BARE = re.compile(r"^(?P<module>\w+)(?:[\\/].*)?(?:\.py|[\\/].*)$")
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?::|$)")
#: Without a traceback above it, only what is surely an exception's name counts as one.
RAISED_ALONE = re.compile(
    r"^(?:(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*|[A-Za-z_]\w*(?:Error|Exception|Timeout|Interrupt))(?::|$)"
)
#: The last words of an exception in native code, by GNU's library and by LLVM's.
_NATIVE = re.compile(
    r"^\s*what\(\):\s+(?P<gnu>\S.*)"
    r"|^libc\+\+abi: terminating\b.*? exception of type \S+: (?P<llvm>.+)"
)
#: pip's output, where launch.py prints it once more.
_STREAM = re.compile(r"^(?:stderr|stdout): ")
#: What Fooocus, its web server and pip print next, so no part of a message.
_NEXT = re.compile(
    r"^(?:\[[A-Z]|Total time|Running on|App started|Requested to load|Loading |Downloading|User s"
    r"|File corrupted|Fooocus |Python \d|Exception in |(?:ERROR|INFO|WARNING):|error: |Moving model"
    r"|Base model|VAE loaded|Refiner|Started |Preparation time|Processing time|Generating and"
    r"|Using |Image generated|\s*\d{1,3}%\|)"
)


@dataclass(frozen=True, slots=True)
class Event:
    """A printed line, or an exception with its traceback and all lines of its message."""

    text: str
    lines: tuple[str, ...]  # of an exception without its frames
    frames: tuple[tuple[str, ...], ...] = ()  # the lines of each, outermost first
    raised: bool = False
    begin: int = 0  # the number of its first line in the log
    chained: bool = False  # raised while the one before was handled
    thread: str | None = None  # the function of the thread that it ended
    served: bool = False  # printed by the web server for a request that failed

    @property
    def own(self) -> bool:
        """Whether it went through Fooocus's own code."""
        return any(not is_foreign(frame[0]) for frame in self.frames)

    @property
    def of_request(self) -> bool:
        """Whether it was raised for a request of the page."""
        return any(REQUEST_FRAME.search(frame[0]) for frame in self.frames)

    @property
    def ended_worker(self) -> bool:
        """Whether it ended the worker's thread."""
        return self.thread == "worker"

    @property
    def aside(self) -> bool:
        """Whether it is a matter of another thread or of one request, so no generation's."""
        return self.served or self.thread not in (None, "worker")


def is_foreign(frame: str) -> bool:
    """Whether a frame is of an installed package or of the standard library."""
    match = FRAME.match(frame)
    if match is None or "fooocus_nb" in match["file"]:
        return False
    bare = _BARE.match(match["file"])
    library = bare is not None and bare["module"] in sys.stdlib_module_names
    return library or bool(_FOREIGN.search(match["file"]))


def events_of(lines: Sequence[str]) -> list[Event]:
    """Return what a log tells, in order."""
    events = list(_events([_STREAM.sub("", line) for line in mend(lines)]))
    # Of a chain only the last traceback comes from where the thread began.
    for index in range(len(events) - 1, 0, -1):
        if events[index].chained and events[index].ended_worker and not events[index - 1].thread:
            events[index - 1] = replace(events[index - 1], thread="worker")
    return events


def _events(lines: Sequence[str]) -> Iterator[Event]:
    index, chained, thread, served = 0, False, None, False
    while index < len(lines):
        line = lines[index]
        if line.endswith(TRACEBACK) and not QUOTED.match(line):
            found = _traceback(lines, index)
            if found is not None:
                yield found.event(chained, thread, served)
                yield from found.between
            index = found.end if found is not None else _after_frames(lines, index)
            chained = False
            if not _goes_on(lines, index):
                thread, served = None, False
            continue
        if match := THREAD.match(line):
            thread = match["target"] or ""
            yield Event(line, (line,), begin=index, thread=thread or None)
        elif _SERVERS.match(line):
            served = True
        elif line.startswith(CONNECTORS):
            chained = True
        elif line:
            if line[0] not in " \t+|":  # the server's lines between its heading and the traceback
                thread, served = None, False
            yield Event(line, (line,), raised=bool(RAISED_ALONE.match(line)), begin=index)
            if match := _NATIVE.match(line):
                said = f"RuntimeError: {match['gnu'] or match['llvm']}"
                yield Event(said, (line,), raised=True, begin=index)
        index += 1


def _goes_on(lines: Sequence[str], index: int) -> bool:
    """Whether the next thing said is that another exception followed."""
    rest = (line for line in lines[index : index + 3] if line.strip())
    return next(rest, "").startswith(CONNECTORS)


@dataclass(frozen=True, slots=True)
class _Traceback:
    """Where a whole traceback stands in a log, and what other threads printed meanwhile."""

    begin: int
    end: int  # the number of the line after it
    frames: tuple[tuple[str, ...], ...]
    message: tuple[str, ...]
    between: tuple[Event, ...]

    def event(self, chained: bool, thread: str | None, served: bool) -> Event:
        """Return the exception."""
        if not thread:
            thread = _thread_of([line for frame in self.frames for line in frame], thread)
        return Event(
            "\n".join(self.message)[:MAX_MESSAGE],
            self.message,
            self.frames,
            raised=True,
            begin=self.begin,
            chained=chained,
            thread=thread,
            served=served,
        )


def _after_frames(lines: Sequence[str], start: int) -> int:
    """Return where the log goes on after a traceback that has no end."""
    index = start + 1
    while index < len(lines) and lines[index].startswith("  "):
        index += 1
    return index


def _traceback(lines: Sequence[str], start: int) -> _Traceback | None:
    """Return the traceback that begins at a line, or None where it has no end.

    Another thread may print at any moment of it, such as the worker while the web server reports
    a request that failed.
    """
    frames: list[list[str]] = []
    between: list[Event] = []
    for index in range(start + 1, len(lines)):
        other, part = traceback_part(lines[index])
        if part.endswith(TRACEBACK) or len(between) > MAX_BETWEEN:
            return None
        if FRAME.match(part):
            frames.append([part])
        elif part.startswith("  ") and not other:
            if frames:  # else marks of a syntax error, or what is left of a frame that was cut off
                frames[-1].append(part)
        elif _ends(part, plain=not (other or between)):
            message = (part, *_rest_of_message(lines, index))
            end = index + len(message)
            return _Traceback(start, end, tuple(map(tuple, frames)), message, tuple(between))
        else:
            other += part
        if other or not part:
            between.append(Event(other, (other,), begin=index))
    return None


def _ends(part: str, *, plain: bool) -> bool:
    """Whether it names the exception that a traceback ends with; `plain` where nobody disturbs."""
    if _NEXT.match(part):
        return False
    return bool(_RAISED.match(part) if plain else RAISED_ALONE.match(part))


def _thread_of(frames: Sequence[str], thread: str | None) -> str | None:
    """Return whose thread has ended, where the heading does not say so; None for no thread."""
    if thread is None and not any(THREAD_FRAME.search(line) for line in frames):
        return None
    return "worker" if any(WORKER_FRAME.match(line) for line in frames) else ""


def _rest_of_message(lines: Sequence[str], start: int) -> Iterator[str]:
    """Yield the further lines of an exception's message.

    One that begins with none may have any; another goes on over an empty line only after a colon.
    """
    roomy, before = lines[start].endswith(":"), ""
    for line in lines[start + 1 : start + MAX_MESSAGE_LINES]:
        if line.endswith(TRACEBACK) or line.startswith(CONNECTORS) or _NEXT.match(line):
            return
        if not line and not (roomy or before.endswith(":")):
            return
        before = line
        yield line
