"""Passwords and tokens masked in the child's output before it is kept on the disk."""

from __future__ import annotations

from fooocus_nb._secrets import redact, signs

__all__ = ["Masker"]

#: A line that looks as if it held a secret is waited for so long, in bytes.
MAX_WAITING = 64 << 10


class Masker:
    """Masks whole lines; the beginning of a line that may hold a secret waits for its end.

    Output without a sign of a secret passes as it is, at the cost of looking for the signs.
    """

    def __init__(self) -> None:
        self._waiting = b""
        self._signs = tuple(sign.encode("utf-8", "surrogateescape") for sign in signs())

    @property
    def waits(self) -> bool:
        """Whether the beginning of a line waits for its end."""
        return bool(self._waiting)

    def feed(self, data: bytes) -> bytes:
        """Take output, and return what may be written."""
        data = self._waiting + data
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if len(data) - end > MAX_WAITING:
            end = len(data)
        self._waiting = data[end:]
        return self._masked(data[:end])

    def rest(self, *, ended: bool) -> bytes:
        """Return the beginning of a line that nothing has followed; one with a sign waits on."""
        if not ended and self._suspicious(self._waiting):
            return b""
        rest, self._waiting = self._waiting, b""
        return self._masked(rest)

    def _suspicious(self, data: bytes) -> bool:
        folded = data.lower()
        return any(sign in folded for sign in self._signs)

    def _masked(self, data: bytes) -> bytes:
        """Return output with the lines masked that show a sign."""
        if not self._suspicious(data):
            return data
        lines = data.split(b"\n")
        for place, line in enumerate(lines):
            if self._suspicious(line):
                # Bytes that are no text come back as they were.
                text = line.decode("utf-8", "surrogateescape")
                lines[place] = redact(text).encode("utf-8", "surrogateescape")
        return b"\n".join(lines)
