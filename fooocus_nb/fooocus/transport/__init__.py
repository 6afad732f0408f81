"""One interface to a Gradio server, whatever wire it speaks.

A function of the server is known by its index. Queued functions are *called* and answer with a
stream of messages; unqueued ones are *posted* and answer at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fooocus_nb.errors import ConnectionLost, EngineError, LoginError, UnsupportedServer
from fooocus_nb.fooocus.transport.http import login_advice, prefix_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from fooocus_nb.fooocus.transport.http import HttpSession
    from fooocus_nb.fooocus.transport.login import Login

__all__ = [
    "Completed",
    "Estimation",
    "Generating",
    "Message",
    "Started",
    "Transport",
    "output_of",
    "parse_message",
]

#: Seconds to wait for the answer of a function that the server does not queue.
POST_TIMEOUT = 30.0
#: No queue is longer; a number of hundreds of digits is no rank.
MAX_RANK = 1_000_000


@dataclass(frozen=True, slots=True)
class Estimation:
    """The call waits in the server's queue."""

    #: How many calls are before this one.
    rank: int


@dataclass(frozen=True, slots=True)
class Started:
    """The server runs the function now."""


@dataclass(frozen=True, slots=True)
class Generating:
    """A generator function has yielded: one entry per output."""

    data: tuple[Any, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Completed:
    """The call has ended; nothing follows."""

    #: One entry per output; empty after a failure.
    data: tuple[Any, ...] = field(default=(), repr=False)
    #: What the server says. It does not notice a worker that failed, and calls that a success.
    success: bool = True
    #: The server's reason, which it rarely gives.
    error: str | None = None


Message = Estimation | Started | Generating | Completed


def output_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a wire message that holds the outputs or the error."""
    output = answer.get("output")
    return output if isinstance(output, dict) else {}


def parse_message(answer: Mapping[str, Any], outputs: tuple[Any, ...]) -> Message | None:
    """Parse a message of the wire; None for one that is of no use to us."""
    match answer.get("msg"):
        case "estimation":
            rank = answer.get("rank")
            return Estimation(min(rank, MAX_RANK) if isinstance(rank, int) and rank > 0 else 0)
        case "process_starts":
            return Started()
        case "process_generating":
            return Generating(outputs)
        case "process_completed" | "unexpected_error" as kind:
            error = output_of(answer).get("error") or answer.get("message")
            success = kind == "process_completed" and bool(answer.get("success", True))
            # Some versions of Gradio 4 write out that there is no reason.
            return Completed(outputs, success, None if error in (None, "None") else str(error))
        case _:
            return None


class Transport(ABC):
    """A connection to one server. Every method runs on the event loop of its caller."""

    # All raise `ConnectionLost` where the server does not answer or breaks the connection.

    def __init__(self, http: HttpSession, timeout: float, prefix: str = "") -> None:
        self._http = http
        #: Seconds to wait for the server's description.
        self._timeout = timeout
        #: Where the server's functions are; later Gradios have a path of their own for them.
        self._prefix = prefix_of(prefix, http.url)

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        return self._http.url

    @property
    def logins(self) -> Sequence[Login]:
        """What logs us in where the server wants that."""
        return self._http.logins

    @abstractmethod
    def call(
        self, fn_index: int, data: Sequence[Any], session_hash: str
    ) -> AsyncGenerator[Message, None]:
        """Run a queued function; `Completed` is the last message."""
        # Calls with the same hash share the server's state. Closing the generator early leaves the
        # queue, but does not stop what already runs.

    @abstractmethod
    async def post(
        self,
        fn_index: int,
        data: Sequence[Any],
        session_hash: str,
        *,
        timeout: float = POST_TIMEOUT,
    ) -> list[Any]:
        """Run a function past the queue, where the server allows it, and return its outputs."""

    async def config(self) -> dict[str, Any]:
        """Return the answer to ``/config``, and remember where a redirection led."""
        answer = await self._http.request("GET", "/config", timeout=self._timeout, follow=True)
        if answer.status in (502, 503, 504):
            msg = f"What answers at {self.url} says {answer.status}: no server runs behind it."
            raise ConnectionLost(msg)
        if answer.status in (401, 403):
            given = bool(self._http.logins)
            what = "does not take the login that it was given" if given else "wants a login"
            msg = f"The server at {self.url} {what}. {login_advice(given)}"
            raise LoginError(msg)
        config = self._http.json_of(answer)
        if answer.status != 200 or not isinstance(config, dict):
            msg = f"What answers at {self.url} is no Gradio app (/config: {answer.status})."
            raise UnsupportedServer(msg)
        if answer.redirected:
            self._http.move(answer.url.partition("/config")[0])
        return config

    async def info(self) -> dict[str, Any] | None:
        """Return the description of the functions with a name; None where the wire has none."""
        return None

    async def fetch(self, path: str, limit: int | None = None) -> bytes:
        """Return the bytes of a file that the server offers, by the path that the server gave."""
        # Never redirected: the server would send us to any address that is put for a path.
        limit = limit or self._http.max_file
        answer = await self._http.request("GET", self._file_url(path), limit=limit)
        if answer.status != 200:
            msg = f"The server at {self.url} does not give out {path!r} ({answer.status})."
            raise EngineError(msg)
        return answer.content

    async def age(self, path: str) -> float | None:
        """Return how many seconds ago a file was written; None where the server does not tell."""
        # Both dates are the server's own, to a second: its clock may differ from ours.
        answer = await self._http.request("HEAD", self._file_url(path))
        if answer.status != 200:
            return None
        now, written = (_seconds(answer.headers.get(name)) for name in ("date", "last-modified"))
        return None if now is None or written is None else now - written

    async def answers(self, timeout: float) -> bool:
        """Whether the web server answers anything but a gateway's error page."""
        try:
            answer = await self._http.request("GET", "/app_id", timeout=timeout)
        except ConnectionLost:
            return False
        return answer.status < 500

    async def aclose(self) -> None:
        """Close every connection; running calls end. May be repeated."""
        await self._http.aclose()

    def _file_url(self, path: str) -> str:
        return f"{self._prefix}/file={quote(path, safe='/', errors='replace')}"


def _seconds(date: str | None) -> float | None:
    """Return a date of HTTP as seconds since the epoch."""
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None
