"""Take apart lines that two of Fooocus's threads have printed into each other.

An unbuffered Python writes a line and its ending separately, and the report of a thread that ends
in many pieces. What the main thread prints at that moment stands anywhere within it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["QUOTED", "Mender", "is_sentence", "mend", "take_apart", "traceback_part"]

#: What somebody wrote himself, and may contain any word.
QUOTED = re.compile(r"\[(?:Prompt Expansion|Parameters|Wildcards)\]")

_HOST = r"(?:\[[0-9a-fA-F:.]+\]|[\w.\-]+)"
_ADDRESS = rf"https?://{_HOST}(?::\d+)?/?"
#: What the main thread prints while the worker may end, each in one piece. The address is read
#: strictly, since the next word may follow without a space.
_MAIN_THREAD = re.compile(
    rf"Running on local URL:  {_ADDRESS}"
    rf"|App started successful\. Use the app with {_ADDRESS}(?: or {_HOST}:\d+)?"
)
#: A frame or the heading of a thread's report that is not all of a line.
_INCOMPLETE = re.compile(
    r'^(?:  File(?: "[^"]*(?:", line(?: \d+)?(?:, in)?)?)?|Exception in thread\b[^:]*)\s*$'
)
_FRAME = re.compile(r'^  File ".*", line \d+')
_INDENT = "    "
_NOT_SOURCE = re.compile(r"^(?: |$|[A-Za-z_][\w.]*(?::|$))")
#: A line that was cut here had a space, which was taken for the blanks at its end.
_SPACED = ("thread", "line", "in", ",")
#: A bar of tqdm, and what the worker prints while another thread prints a traceback, each up to
#: where it surely ends.
_BAR = r"\s*(?:[^|%\[\]]{0,80}: ?)?\d{1,3}%\|[^|]*\|[^\[|]*\[[^\]]*\]"
_WORKER = re.compile(
    rf"{_BAR}"
    r"|(?:\[[A-Z]\w*\] )?[A-Z][^.:]*?\.\.\."
    r"|(?:\[[A-Z][\w ]*\] )?[A-Z][\w ()]*:? \d+(?:\.\d+)? seconds"
    r"|\[Sampler\] refiner_swap_method = (?:joint|separate|vae)"
    r"|\[Sampler\] sigma_min = [\d.]+, sigma_max = [\d.]+"
    r"|Image generated with private log at: .*?\.html"
)
_FRAME_PART = re.compile(r'  File "[^"]*", line \d+')
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?::|$)")
#: After a word of its own an exception is only mentioned; glued to other text, it was torn.
_EXCEPTION_PART = re.compile(
    r"(?<![\w.])[a-z\d_.]*[a-z\d.](?P<name>[A-Z][A-Za-z]*(?:Error|Exception|Timeout|Interrupt))"
    r"(?:: |:?$)"
)
#: How many lines later, at most, the ending comes that belongs to the sentence.
_LATE_LINES = 40


def take_apart(line: str) -> tuple[str, str]:
    """Return the main thread's sentence in a line, or nothing, and what else the line holds."""
    match = _MAIN_THREAD.search(line)
    if match is None or QUOTED.match(line):
        return "", line
    return match[0], line[: match.start()] + line[match.end() :]


def traceback_part(line: str) -> tuple[str, str]:
    """Return what of a line another thread may have printed, and what goes on with a traceback.

    A traceback is written a frame at a time, each with its ending, so its part is the line's last.
    """
    if QUOTED.match(line):
        return line, ""
    begin = 0
    while match := _WORKER.match(line, begin):
        begin = match.end()
    # Nothing is known of other text that may stand before it.
    if match := _FRAME_PART.search(line, begin):
        begin = match.start()
    elif not _EXCEPTION.match(line, begin) and (match := _EXCEPTION_PART.search(line, begin)):
        begin = match.start("name")
    return line[:begin], line[begin:]


def is_sentence(line: str) -> bool:
    """Whether a line is one that the main thread prints while the worker may end."""
    return _MAIN_THREAD.match(line) is not None


class Mender:
    """Puts the lines of a log together again, one after the other.

    Of a line with a sentence in it, one of the two endings that follow is the sentence's own: an
    empty line, or a break in the middle of another one.
    """

    def __init__(self) -> None:
        self._late = 0  # how many lines may yet come before the sentence's own ending
        self._held: str | None = None
        self._in_frame = False

    def take(self, line: str) -> Iterator[str]:
        """Yield what is whole with this line, each sentence as a line of its own."""
        sentence, rest = take_apart(line)
        if sentence:
            yield sentence
            if not rest.strip():
                self._held = _INDENT if self._in_frame else self._held
                return
            self._late = _LATE_LINES
        if self._held is not None:
            rest, self._held, self._late = _joined(self._held, rest), None, 0
        elif self._late:
            self._late -= 1
            if not rest.strip() or _INCOMPLETE.match(rest):
                # The source of a frame is indented; of its blanks, an empty line may be left.
                self._held = _INDENT if not rest.strip() and self._in_frame else rest
                return
        self._in_frame = _FRAME.match(rest) is not None
        yield rest

    def rest(self) -> Iterator[str]:
        """Yield what the end of the log has left without its other half."""
        if self._held is not None and self._held.strip():
            yield self._held


def _joined(first: str, second: str) -> str:
    if first in ("", _INDENT):
        return second if not first or _NOT_SOURCE.match(second) else first + second
    return f"{first} {second}" if first.endswith(_SPACED) else first + second


def mend(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a log, put together again and without the main thread's sentences."""
    mender = Mender()
    for line in lines:
        for whole in mender.take(line):
            if not is_sentence(whole):
                yield whole
    yield from mender.rest()
