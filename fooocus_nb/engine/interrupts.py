"""How an interrupted call ends: it stops the generation, waits a moment, and raises one error."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from fooocus_nb.errors import show_plainly

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = [
    "INTERRUPT_GRACE",
    "INTERRUPT_TIMEOUT",
    "interruption",
    "interruption_of",
    "interruption_text",
    "start_interruption",
    "stop_and_wait",
]

#: How long an interrupted call waits for the engine to end its current step, the stop itself
#: included. VS Code offers to restart the kernel 10 s after an interrupt.
INTERRUPT_TIMEOUT = 7.0
#: How long an engine whose start was interrupted gets to end by itself.
INTERRUPT_GRACE = 3.0


def stop_and_wait(stop: Callable[[], object], wait: Callable[[float], object]) -> None:
    """Stop a generation, and give the engine the time to end its step; never raises an error."""
    deadline = time.monotonic() + INTERRUPT_TIMEOUT
    with contextlib.suppress(Exception):
        stop()
    with contextlib.suppress(Exception):
        wait(max(deadline - time.monotonic(), 0.0))


def interruption(images: int, *, ended: bool) -> KeyboardInterrupt:
    """Return the error that ends an interrupted call, which IPython shows without stack frames."""
    error = KeyboardInterrupt(interruption_text(images, ended=ended))
    show_plainly(error, "python")
    return error


def interruption_of(cancelled: asyncio.CancelledError) -> KeyboardInterrupt:
    """Return the error that ends a cell whose await was cancelled.

    What interrupts a cell that awaits is a cancellation; the notebook shows it as in any other.
    """
    error = KeyboardInterrupt(*cancelled.args)
    show_plainly(error, "python")
    return error


def start_interruption(name: str) -> KeyboardInterrupt:
    """Return the error that ends an interrupted start."""
    error = KeyboardInterrupt(f"The start of engine {name!r} was interrupted.")
    show_plainly(error, "python")
    return error


def interruption_text(images: int, *, ended: bool) -> str:
    """Return how far a generation came that was interrupted, and whether the engine is free."""
    done = "1 image is done" if images == 1 else f"{images} images are done"
    kept = ", in engine.last_result" if images else ""
    if ended:
        return f"{done}{kept}; the engine is ready for the next generation."
    return (
        f"{done}{kept}; the engine is still busy: it has not ended the interrupted generation, and "
        "the next one waits for that. If it does not respond any more, engine.restart() helps."
    )
