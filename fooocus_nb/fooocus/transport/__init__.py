"""One interface to a Gradio server, whatever wire it speaks.

A function of the server is known by its index. Queued functions are *called* and answer with a
stream of messages; unqueued ones are *posted* and answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

__all__ = ["Completed", "Estimation", "Generating", "Message", "Started", "Transport"]


@dataclass(frozen=True, slots=True)
class Estimation:
    """The call waits in the server's queue.

    Attributes
    ----------
    rank : int
        How many calls are before this one.
    queue_size : int
        How many calls wait, this one among them.
    eta : float or None
        The seconds that the server expects it to take.
    """

    rank: int
    queue_size: int = 0
    eta: float | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The server runs the function now."""


@dataclass(frozen=True, slots=True)
class Generating:
    """A generator function has yielded.

    Attributes
    ----------
    data : tuple
        One entry per output.
    """

    data: tuple[Any, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Completed:
    """The call has ended; nothing follows.

    Attributes
    ----------
    data : tuple
        One entry per output; empty after a failure.
    success : bool
        What the server says. A worker that failed behind its back counts as success.
    error : str or None
        The server's reason, which it mostly keeps to itself.
    """

    data: tuple[Any, ...] = field(default=(), repr=False)
    success: bool = True
    error: str | None = None


Message = Estimation | Started | Generating | Completed


class Transport(Protocol):
    """What a wire can do. Every method runs on the event loop of its caller.

    All raise `ConnectionLost` where the server does not answer or breaks the connection.
    """

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""

    async def config(self) -> dict[str, Any]:
        """Return the server's description of itself."""

    def call(
        self, fn_index: int, data: Sequence[Any], session_hash: str
    ) -> AsyncGenerator[Message, None]:
        """Run a queued function; `Completed` is the last message.

        Closing the generator early leaves the queue, but does not stop what already runs.
        """

    async def post(
        self,
        fn_index: int,
        data: Sequence[Any],
        session_hash: str,
        *,
        timeout: float = 30.0,
    ) -> list[Any]:
        """Run a function past the queue and return its outputs."""

    async def fetch(self, path: str) -> bytes:
        """Return the bytes of a file that the server offers."""

    async def age(self, path: str) -> float | None:
        """Return how many seconds ago a file was written; None where the server does not tell."""

    async def answers(self, timeout: float) -> bool:
        """Whether the web server answers anything at all."""

    async def aclose(self) -> None:
        """Release every socket; running calls end. May be repeated."""
