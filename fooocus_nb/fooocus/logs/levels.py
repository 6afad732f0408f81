"""How serious a line of the engine's log is."""

from __future__ import annotations

import re

from fooocus_nb.fooocus.logs.torn_lines import QUOTED

__all__ = ["LEVELS", "Classifier"]

#: From the least to the most serious.
LEVELS = ("info", "warning", "error")

_TRACEBACK = "Traceback (most recent call last):"
_CHAIN = re.compile(r"(?:During handling of|The above exception was)\b.*exception")
_ERROR = re.compile(
    r"^\s*(?:\[?(?:ERROR|CRITICAL|FATAL)\b|(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)\b(?::|$)"
    r"|Exception in thread\b|fatal:|error:|Segmentation fault|Killed$|\^C$)"
    r"|\bout of memory\b|\bnot enough memory\b|\bFile corrupted:",
    re.IGNORECASE | re.MULTILINE,
)
_WARNING = re.compile(
    r"^\s*\[?WARN(?:ING)?\b|\b\w*Warning:|^Failed to\b|^Version mismatch\b|\bUpdate failed\b"
    r"|\bnot found\b|\bdeprecated\b|\bcannot (?:be )?(?:find|load|open)\b|\bcould not\b"
    r"|^User (?:stopped|skipped)\b|\bmissing here:|\bleft out here\b",
    re.IGNORECASE,
)


class Classifier:
    """Tells the level of one line after the other; a traceback is one error, whole."""

    def __init__(self) -> None:
        self._in_traceback = False

    def level(self, text: str) -> str:
        """Return ``info``, ``warning`` or ``error`` for the next line.

        Parameters
        ----------
        text : str
            The line, without its ending.
        """
        if text.startswith(_TRACEBACK) or _CHAIN.match(text):
            self._in_traceback = True
            return "error"
        if self._in_traceback:
            # Its frames are indented; the exception itself, not indented, is its last line.
            self._in_traceback = not text.strip() or text[0] in " \t"
            return "error"
        if QUOTED.match(text):
            return "info"
        if _ERROR.search(text[:400]):
            return "error"
        return "warning" if _WARNING.search(text[:400]) else "info"
