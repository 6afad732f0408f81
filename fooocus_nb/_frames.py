"""How our exceptions look in IPython: the user's own lines, and what happened.

Where in this package a wrong name was noticed is of no use to somebody who mistyped it, and five of
our frames push the message out of sight. ``%xmode Verbose`` shows everything, and nothing is taken
from the exception itself: debuggers and logs see all of it.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["rendered"]

_PACKAGE = __name__.partition(".")[0]
_EVERYTHING = "Verbose"
_MESSAGE_ONLY = "Minimal"


def rendered(error: BaseException) -> list[str]:
    """Return what IPython shows of an exception that came out of this package.

    Parameters
    ----------
    error : BaseException
        With its traceback.

    Returns
    -------
    list of str
        As IPython's own renderers do, in the mode that ``%xmode`` set.
    """
    ipython: Any = sys.modules.get("IPython")  # where IPython asks for this, it is imported
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return traceback.format_exception(error)
    renderer = shell.InteractiveTB
    if renderer.mode == _EVERYTHING:
        return list(renderer.structured_traceback(type(error), error, error.__traceback__))
    kept, hidden = _users_part(error.__traceback__)
    with _apart_from_our_causes(error):
        lines = list(renderer.structured_traceback(type(error), error, kept))
    if hidden and renderer.mode != _MESSAGE_ONLY:
        frames = "1 frame" if hidden == 1 else f"{hidden} frames"
        lines.append(f"[{frames} of {_PACKAGE} left out: %xmode {_EVERYTHING} shows them]")
    return lines


def _is_ours(step: TracebackType) -> bool:
    name = str(step.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] == _PACKAGE


def _users_part(first: TracebackType | None) -> tuple[TracebackType | None, int]:
    """Return a traceback that ends where this package was called, and how much came after."""
    steps = []
    step = first
    while step is not None:
        steps.append(step)
        step = step.tb_next
    count = next((place for place, step in enumerate(steps) if _is_ours(step)), len(steps))
    kept = None
    for step in reversed(steps[:count]):
        kept = TracebackType(kept, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return kept, len(steps) - count


@contextlib.contextmanager
def _apart_from_our_causes(error: BaseException) -> Iterator[None]:
    """Let an exception stand alone for a while, unless what led to it is the user's own."""
    before = error.__cause__ or error.__context__
    if before is None or before.__traceback__ is None or not _is_ours(before.__traceback__):
        yield
        return
    kept = error.__cause__, error.__context__, error.__suppress_context__
    error.__cause__ = error.__context__ = None
    try:
        yield
    finally:
        error.__cause__, error.__context__, error.__suppress_context__ = kept
