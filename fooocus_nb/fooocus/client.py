"""The client of one Fooocus server: sends requests and yields typed events."""

from __future__ import annotations

import asyncio
import html
import re
import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self

from fooocus_nb.errors import ConnectionLost, GenerationError, UnsupportedServer
from fooocus_nb.fooocus.events import (
    Event,
    Finished,
    ImageFinished,
    Queued,
    Started,
)
from fooocus_nb.fooocus.outputs import (
    ABSENT,
    gallery_paths,
    parse_preview,
    parse_progress,
    updated_value,
)
from fooocus_nb.fooocus.schema import Schema
from fooocus_nb.fooocus.schema.named_api import ENDPOINT, is_named, named_schema
from fooocus_nb.fooocus.transport import Completed, Estimation, Generating
from fooocus_nb.fooocus.transport import Started as CallStarted
from fooocus_nb.fooocus.transport.gradio3 import Gradio3Transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
    from types import TracebackType

    from fooocus_nb.fooocus.schema.calls import Call, Outputs
    from fooocus_nb.fooocus.transport import Message, Transport
    from fooocus_nb.fooocus.transport.login import Login

__all__ = ["Client", "new_session_hash"]

#: Seconds that stop and skip may take; the server answers them at once or not at all.
CONTROL_TIMEOUT = 5.0
#: Seconds that another unqueued function may take: a preset may download its models first.
CALL_TIMEOUT = 6 * 3600.0
#: How often to send the request when the connection breaks meanwhile.
SET_ATTEMPTS = 2
_LINK = re.compile(r"""href\s*=\s*["']?[^"'>]*?\bfile=([^"'>]+)""", re.IGNORECASE)


def new_session_hash() -> str:
    """Return a new name for the state that the server keeps of one generation."""
    return secrets.token_hex(8)


class Client:
    """The client of one Fooocus server. It runs on the event loop of its caller."""

    def __init__(self, transport: Transport, schema: Schema) -> None:
        self._transport = transport
        #: What the server offers.
        self.schema = schema

    @classmethod
    async def connect(
        cls, url: str, *, timeout: float = 10.0, logins: Sequence[Login] = ()
    ) -> Client:
        """Read a server's description and return a client that fits it."""
        transport: Transport = Gradio3Transport(url, timeout=timeout, logins=logins)
        try:
            try:
                async with asyncio.timeout(timeout):
                    config = await transport.config()
            except TimeoutError as error:
                msg = f"The server at {transport.url} did not describe itself in {timeout:g} s."
                lost = ConnectionLost(msg)
                lost.timed_out = True
                raise lost from error
            transport = await _fitting(transport, config, timeout, transport.logins)
            return cls(transport, await _schema(transport, config))
        except BaseException:
            await transport.aclose()
            raise

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.url

    async def generate(
        self, values: Mapping[str, Any], *, session_hash: str
    ) -> AsyncGenerator[Event, None]:
        """Run one generation."""
        # Close the generator (`contextlib.aclosing`) to leave it early. That does not stop
        # the generation on the server: `stop` does.
        reader = _Reader(self.schema.outputs)
        *setters, generator = self.schema.steps
        for setter in setters:
            async with aclosing(self._set(setter, values, session_hash)) as ranks:
                async for rank in ranks:
                    for event in reader.queued(rank):
                        yield event
        async with aclosing(self._messages(generator, values, session_hash)) as messages:
            async for message in messages:
                if isinstance(message, Completed):
                    self._check(message, "the generation failed")
                    self._check_task(message)
                for event in reader.translate(message):
                    yield event
        yield Finished(reader.final)

    async def _set(
        self, setter: Call, values: Mapping[str, Any], session_hash: str
    ) -> AsyncGenerator[int, None]:
        """Send the request, yielding its rank in the queue."""
        # That alone generates nothing, so where the connection breaks it may be done again.
        for attempt in range(1, SET_ATTEMPTS + 1):
            try:
                async with aclosing(self._messages(setter, values, session_hash)) as messages:
                    async for message in messages:
                        if isinstance(message, Estimation):
                            yield message.rank
                        elif isinstance(message, Completed):
                            self._check(message, "it did not accept the request")
            except ConnectionLost as error:
                if not error.handed_in or attempt == SET_ATTEMPTS:
                    error.handed_in = False
                    raise
            else:
                return

    def _messages(
        self, call: Call, values: Mapping[str, Any], session_hash: str
    ) -> AsyncGenerator[Message, None]:
        payload = self.schema.payload(call, values)
        return self._transport.call(call.fn_index, payload, session_hash)

    def _check(self, end: Completed, what: str) -> None:
        """Raise where the server says that a call failed."""
        if not end.success:
            reason = f": {end.error}" if end.error else ", and gives no reason"
            msg = f"The server at {self.url} says that {what}{reason}."
            raise GenerationError(msg)

    def _check_task(self, end: Completed) -> None:
        """Raise where the generator had no task, which it reports as success."""
        if all(entry is None for entry in end.data):
            msg = f"The server at {self.url} had no task to run: it could not build one."
            raise GenerationError(
                msg, remedy="Its log tells why; often a value is one that it does not know."
            )

    async def stop(self, session_hash: str) -> None:
        """Stop a generation; it ends within a step and keeps the finished images."""
        await self._control(self.schema.stop, "stop", session_hash)

    async def skip(self, session_hash: str) -> None:
        """Skip the current image and go on with the next."""
        await self._control(self.schema.skip, "skip", session_hash)

    async def _control(self, call: Call | None, verb: str, session_hash: str) -> None:
        if call is None:
            msg = f"The server at {self.url} offers no way to {verb} a generation."
            raise UnsupportedServer(msg)
        payload = self.schema.payload(call, {})
        await self._transport.post(call.fn_index, payload, session_hash, timeout=CONTROL_TIMEOUT)

    async def call(
        self, verb: str, values: Mapping[str, Any], *, timeout: float = CALL_TIMEOUT
    ) -> list[Any]:
        """Call one of the functions beside "Generate"."""
        call = self.schema.verb(verb)
        payload = self.schema.payload(call, values)
        session_hash = new_session_hash()
        if not call.queued:
            return await self._transport.post(call.fn_index, payload, session_hash, timeout=timeout)
        answer: list[Any] = []
        try:
            async with (
                asyncio.timeout(timeout),
                aclosing(self._transport.call(call.fn_index, payload, session_hash)) as messages,
            ):
                async for message in messages:
                    if isinstance(message, Completed):
                        self._check(message, f"{verb.replace('_', ' ')} failed")
                        answer = list(message.data)
        except TimeoutError as error:
            msg = f"The server at {self.url} did not answer {verb!r} in {timeout:g} s."
            raise ConnectionLost(msg) from error
        return answer

    async def fetch(self, path: str) -> bytes:
        """Return the bytes of an image."""
        return await self._transport.fetch(path)

    async def age(self, path: str) -> float | None:
        """Return how many seconds ago an image was written; None where the server does not tell."""
        return await self._transport.age(path)

    async def log_page(self) -> str | None:
        """Return the server's path of today's log page; None where it has none."""
        call = self.schema.verbs.get("history")
        if call is None:
            return None
        answer = await self._transport.post(
            call.fn_index,
            self.schema.payload(call, {}),
            new_session_hash(),
            timeout=CONTROL_TIMEOUT,
        )
        link = _LINK.search(str(_value_at(answer, 0)))
        return html.unescape(link[1]) if link else None

    async def healthy(self, timeout: float = 2.0) -> bool:
        """Whether the web server answers. It does so also when the worker is dead."""
        try:
            async with asyncio.timeout(timeout):
                return await self._transport.answers(timeout)
        except TimeoutError:
            return False

    async def aclose(self) -> None:
        """Release every socket. May be repeated."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


async def _fitting(
    transport: Transport, config: Mapping[str, Any], timeout: float, logins: Sequence[Login]
) -> Transport:
    """Return the transport for the protocol that the server names."""
    if config.get("protocol", "ws") in ("ws", None):
        return transport
    from fooocus_nb.fooocus.transport.gradio4 import Gradio4Transport

    fitting = Gradio4Transport(
        transport.url, config, timeout=timeout, image_endpoints=[ENDPOINT], logins=logins
    )
    await transport.aclose()
    return fitting


async def _schema(transport: Transport, config: Mapping[str, Any]) -> Schema:
    """Read the server's parameters and calls, from its page or from a function with a name."""
    info = await transport.info() if is_named(config) else None
    return Schema.from_config(config) if info is None else named_schema(config, info)


class _Reader:
    """Parses the outputs of the generator into events, each of them once."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._rank: int | None = None
        self._progress: object = None
        self._preview: object = None
        self._seen: set[str] = set()
        self.final: tuple[str, ...] = ()

    def queued(self, rank: int) -> Iterator[Event]:
        if rank != self._rank:
            self._rank = rank
            yield Queued(rank)

    def translate(self, message: Message) -> Iterator[Event]:
        match message:
            case Estimation(rank=rank):
                yield from self.queued(rank)
            case CallStarted():
                yield Started()
            case Generating(data=data) | Completed(data=data):
                yield from self._read(data)

    def _read(self, data: Sequence[Any]) -> Iterator[Event]:
        progress = _value_at(data, self._outputs.progress)
        if progress != self._progress and (parsed := parse_progress(progress)) is not None:
            self._progress = progress
            yield parsed
        preview = _value_at(data, self._outputs.preview)
        if preview != self._preview and (image := parse_preview(preview)) is not None:
            self._preview = preview
            yield image
        yield from self._gallery(_value_at(data, self._outputs.running_gallery))
        final = _value_at(data, self._outputs.final_gallery)
        if isinstance(final, dict):
            final = [final]  # a function with a name may answer with one image
        if isinstance(final, list):
            self.final = gallery_paths(final)
            yield from self._gallery(final)

    def _gallery(self, value: object) -> Iterator[Event]:
        for path in gallery_paths(value):
            if path not in self._seen:
                self._seen.add(path)
                yield ImageFinished(path)


def _value_at(data: Sequence[Any], index: int | None) -> Any:
    """Return an output's value, or `ABSENT` where there is none."""
    if index is None or not 0 <= index < len(data):
        return ABSENT
    return updated_value(data[index])
