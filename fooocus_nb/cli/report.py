"""What a command tells: to people as it goes, or to programs as one JSON document at its end."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import clean
from fooocus_nb._secrets import redact
from fooocus_nb.errors import in_words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    Document = Mapping[str, Any] | Sequence[Any]

__all__ = ["Report", "error_document"]


def error_document(error: BaseException) -> dict[str, str]:
    """Return what JSON tells of an error: its kind, and its message as a terminal shows it."""
    message = redact(in_words_of("shell", str(error)))
    return {"type": type(error).__name__, "message": message}


class Report:
    """What a command tells.

    With `json`, standard output has one document, also where the command fails, and nothing else:
    what anything prints meanwhile goes to standard error.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json
        #: What ``--json`` prints. What a failure had found until then is part of it.
        self.document: Document | None = None
        self._out = sys.stdout

    def say(self, text: str) -> None:
        """Tell people a line of the outcome, on standard output."""
        if not self.json:
            _write(sys.stdout, text)

    def note(self, text: str) -> None:
        """Tell people how it goes, on standard error; secrets in it are masked."""
        # Not so in say(): paths and prompts there are what programs read.
        _write(sys.stderr, redact(text))

    @contextlib.contextmanager
    def alone_on_standard_output(self) -> Iterator[None]:
        """Keep all others from standard output while the block runs."""
        if not self.json:
            yield
            return
        with contextlib.redirect_stdout(sys.stderr):
            yield

    def close(self, exit_code: int, error: BaseException | None) -> None:
        """Print the document, where one is wanted; an `error` becomes part of it."""
        if not self.json:
            return
        document = self.document
        if error is not None:
            found = dict(document) if isinstance(document, dict) else {}
            found["error"] = {**error_document(error), "exit_code": exit_code}
            document = found
        if document is not None:
            self._out.write(json.dumps(_plain(document), indent=2, allow_nan=False) + "\n")
            self._out.flush()


def _write(stream: TextIO, text: str) -> None:
    """Write a line; what the stream's encoding does not have is written as its number."""
    encoding = stream.encoding or "ascii"
    stream.write(f"{clean(text).encode(encoding, 'backslashreplace').decode(encoding)}\n")
    stream.flush()


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: other objects as text, and what is no number as null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)
