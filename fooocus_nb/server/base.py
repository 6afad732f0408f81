"""What all handlers of the API have in common: who may use them, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from jupyter_server.base.handlers import APIHandler
from tornado import web

from fooocus_nb.engine.listing import AmbiguousName, Asleep
from fooocus_nb.errors import ConfigurationError, FooocusError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from fooocus_nb.engine.listing import Listed
    from fooocus_nb.server.services import Services

__all__ = [
    "AUTH_RESOURCE",
    "CommandHandler",
    "Handler",
    "RefusedError",
    "find_engine",
    "running_engine",
]

#: What an authorizer is asked about.
AUTH_RESOURCE = "fooocus"
#: The longest name of an engine, quoted or not.
MAX_NAME = 400
#: A command has a word or two to say.
MAX_BODY = 16_384
#: No number that is asked for is longer.
MAX_DIGITS = 12


class RefusedError(web.HTTPError):
    """A request is refused, for a reason that the answer gives."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        # As an argument: a percent sign in a name is none of a format.
        super().__init__(status, "%s", text)
        self.text = text
        #: What the answer has beside; headers that were set before are dropped with it.
        self.headers = headers or {}


async def find_engine(services: Services, name: str) -> Listed | Asleep:
    """Return an engine of this user that runs or sleeps, or refuse the request."""
    if len(name) > MAX_NAME:
        raise RefusedError(404, "There is no engine with so long a name.")
    try:
        return await services.directory.engine(name)
    except AmbiguousName as error:
        raise RefusedError(409, str(error)) from error
    except ConfigurationError as error:
        raise RefusedError(404, str(error)) from error


async def running_engine(services: Services, name: str) -> Listed:
    """Return an engine of this user that runs, or refuse the request."""
    found = await find_engine(services, name)
    if isinstance(found, Asleep):
        raise RefusedError(409, found.advice)
    return found


class Handler(APIHandler):
    """A handler of the API: JSON in, JSON out, for users who may use engines."""

    auth_resource = AUTH_RESOURCE
    #: A page that looks at engines now and then must not keep a hub's server alive; what a person
    #: asks for, such as a stop, does.
    _track_activity = False

    def initialize(self, services: Services, **_: Any) -> None:
        """Take what all handlers share."""
        self.services = services

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run what waits on a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.services.pool, work, *arguments)

    async def engine(self, name: str) -> Listed:
        """Return an engine of this user that runs, or refuse the request."""
        return await running_engine(self.services, name)

    async def find(self, name: str) -> Listed | Asleep:
        """Return an engine of this user that runs or sleeps, or refuse the request."""
        return await find_engine(self.services, name)

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number of the query, or refuse the request."""
        text = self.text(name)
        if text is None:
            return default
        fine = text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
        if not fine or not low <= int(text) <= high:
            what = f"{name}={text[:50]!r} is not possible: it is a number from {low} to {high}."
            raise RefusedError(400, what)
        return int(text)

    def text(self, name: str) -> str | None:
        """Return a word of the query; None where it is not given."""
        given = self.get_query_arguments(name, strip=False)
        if len(given) > 1:
            raise RefusedError(400, f"{name}= is given {len(given)} times.")
        return given[0] if given else None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer a failed request with its reason, as JSON."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, FooocusError):
            self.set_status(409)
            text = str(error)
        elif isinstance(error, RefusedError):
            text = error.text
            for name, value in error.headers.items():
                self.set_header(name, value)
        else:
            super().write_error(status_code, **kwargs)
            return
        self.finish(json.dumps({"message": text, "reason": None}))


@web.stream_request_body
class CommandHandler(Handler):
    """A handler of what changes something: its body is JSON, and small."""

    _track_activity = True

    async def prepare(self, **options: Any) -> None:
        """Refuse a body that is too large before it is read."""
        self._body = bytearray()
        length = self.request.headers.get("Content-Length")
        if length is None:  # in pieces, of which nobody knows yet how many there are
            self.request.connection.set_max_body_size(MAX_BODY)  # type: ignore[union-attr]
        await super().prepare(**options)
        if length is None:
            return
        # A proxy may have written it twice.
        (first, *others) = {word.strip() for word in length.split(",")}
        if others or not (first.isascii() and first.isdecimal()):
            raise RefusedError(400, f"Content-Length={length[:50]!r} is no number of bytes.")
        if len(first) > MAX_DIGITS or int(first) > MAX_BODY:
            raise RefusedError(413, f"A command has {MAX_BODY:,} bytes at the most.")

    async def command(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run what may wait for long, on a thread that no look at engines waits for."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.services.commands, work, *arguments)

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body; one that was refused goes on for a while."""
        if len(self._body) <= MAX_BODY:
            self._body += chunk

    def body(self, allowed: Collection[str] = ()) -> dict[str, str]:
        """Return the fields of the body, all of them text, or refuse the request."""
        data = bytes(self._body)
        if not data.strip():
            return {}
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, "The body is no JSON.") from error
        if not isinstance(content, dict):
            raise RefusedError(400, "The body is no JSON object.")
        for name, value in content.items():
            if name not in allowed:
                names = ", ".join(sorted(allowed)) or "none"
                raise RefusedError(400, f"The body has {name[:50]!r}; possible are: {names}.")
            if not isinstance(value, str) or len(value) > MAX_NAME:
                raise RefusedError(400, f"{name} in the body is no text, or too long.")
        return content
