"""The wire of Gradio 4, 5 and 6: calls are posted, and answered by a stream of events.

The addresses and the format of differential updates are gradio_client's own.
Its `Client` is not used: it holds five threads for each session, prints tracebacks of a broken
connection into the notebook, and can neither be closed in the middle nor share one session among
some calls and not among others. So the calls are made here, on the caller's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import (
    ConnectionLost,
    EngineError,
    GenerationError,
    ParameterError,
    UnsupportedServer,
)
from fooocus_nb.fooocus.transport import (
    POST_TIMEOUT,
    Completed,
    Transport,
    output_of,
    parse_message,
)
from fooocus_nb.fooocus.transport.data_uris import decode_data_uri, encode_data_uri
from fooocus_nb.fooocus.transport.http import HttpSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence

    import PIL.Image

    from fooocus_nb.fooocus.transport import Message
    from fooocus_nb.fooocus.transport.login import Login

    #: Uploads bytes of a media type and returns how an input names the file.
    _Upload = Callable[[bytes, str], Awaitable[dict[str, Any]]]

__all__ = ["PROTOCOLS", "Gradio4Transport"]

#: What such a server may call its protocol, and whether updates come as differences.
PROTOCOLS = {"sse": False, "sse_v1": False, "sse_v2": True, "sse_v2.1": True, "sse_v3": True}
#: That of Gradio 4.0 to 4.8, in which every call has a stream of its own, and where it is.
ALONE = "sse"
STREAM_OF_ONE, DATA_OF_ONE = "queue/join", "queue/data"
#: Seconds without any event. The server's heartbeat comes every fifteen, unless it holds its GIL.
SILENCE = 300.0
#: Components that take an image and what is painted over it.
EDITORS = frozenset({"imageeditor", "imagemask", "sketchpad"})
#: Seconds for the server to end a stream in which no call is pending; nothing depends on it.
CLOSE_TIMEOUT = 1.0
#: Seconds for the server to accept a call, and to accept an image.
JOIN_TIMEOUT = 30.0
UPLOAD_TIMEOUT = 120.0
#: How many calls of one session a server may speak of.
MAX_CALLS = 1000


class Gradio4Transport(Transport):
    """A connection to a server of Gradio 4 or later."""

    def __init__(
        self,
        url: str,
        config: Mapping[str, Any],
        *,
        timeout: float = 10.0,
        image_endpoints: Collection[str] = (),
        logins: Sequence[Login] = (),
    ) -> None:
        http = HttpSession(url, logins)
        super().__init__(http, timeout, config.get("api_prefix") or "")
        self._streams: dict[str, _EventStream] = {}
        self._closed = False
        self._utils: Any = None
        protocol = config.get("protocol")
        if protocol not in PROTOCOLS:
            msg = (
                f"The server at {self.url} runs Gradio {config.get('version', '(unknown)')} "
                f"(protocol {protocol!r}), which is not supported. Gradio 3 and later are."
            )
            raise UnsupportedServer(msg)
        self._differences = PROTOCOLS[protocol]
        self._alone = protocol == ALONE
        try:
            self._functions = {
                item.get("id", position): item
                for position, item in enumerate(config["dependencies"])
            }
            self._kinds = {item["id"]: str(item["type"]) for item in config["components"]}
        except (AttributeError, KeyError, TypeError) as error:
            msg = f"The server at {self.url} does not describe its page as Gradio does."
            raise UnsupportedServer(msg) from error
        #: The `api_name` of functions whose image output is the result itself, not a preview.
        self._image_endpoints = frozenset(image_endpoints)

    async def info(self) -> dict[str, Any]:
        """Return the answer to ``/info``: the functions with a name, and their parameters."""
        answer = await self._http.request("GET", f"{self._prefix}/info", timeout=self._timeout)
        content = self._http.json_of(answer)
        if answer.status != 200 or not isinstance(content, dict):
            msg = f"The server at {self.url} does not describe its functions."
            raise UnsupportedServer(msg)
        return content

    async def call(
        self, fn_index: int, data: Sequence[Any], session_hash: str
    ) -> AsyncGenerator[Message, None]:
        """Run a queued function."""
        if self._alone:
            async with contextlib.aclosing(self._call_alone(fn_index, data, session_hash)) as told:
                async for each in told:
                    yield each
            return
        utils = await self._gradio_client()
        body = await self._body(fn_index, data, session_hash)
        stream = self._streams.get(session_hash)
        if stream is None:
            path = f"{self._prefix}/{utils.SSE_URL}?session_hash={session_hash}"
            stream = self._streams[session_hash] = _EventStream(self._http, path)
        stream.calls += 1
        event = ""
        try:
            event = await self._join(f"{self._prefix}/{utils.SSE_DATA_URL}", body)
            messages = stream.listen(event)
            last: list[Any] | None = None
            while True:
                answer = await messages.get()
                if isinstance(answer, Exception):
                    lost = ConnectionLost(str(answer))
                    lost.handed_in = True
                    raise lost from answer
                data_out = output_of(answer).get("data")
                if isinstance(data_out, list) and answer.get("msg") == "process_generating":
                    last = self._whole(utils, last, data_out)
                    data_out = last
                outputs = await self._outward(fn_index, data_out, stale=not messages.empty())
                message = parse_message(answer, outputs)
                if message is not None:
                    yield message
                if isinstance(message, Completed):
                    return
        finally:
            stream.calls -= 1
            await self._leave(stream, session_hash, event, fn_index)

    async def _call_alone(
        self, fn_index: int, data: Sequence[Any], session_hash: str
    ) -> AsyncGenerator[Message, None]:
        """Run a queued function by a stream of its own, in which the server asks for its values."""
        body = await self._body(fn_index, data, session_hash)
        path = f"{self._prefix}/{STREAM_OF_ONE}?fn_index={fn_index}&session_hash={session_hash}"
        handed_in = False
        try:
            async with contextlib.aclosing(self._http.events(path, SILENCE)) as stream:
                async for answer, _ in stream:
                    if answer.get("msg") == "send_data":
                        await self._hand_in({**body, "event_id": answer.get("event_id")})
                        handed_in = True
                        continue
                    data_out = output_of(answer).get("data")
                    outputs = await self._outward(fn_index, data_out, stale=False)
                    message = parse_message(answer, outputs)
                    if message is not None:
                        yield message
                    if isinstance(message, Completed):
                        return
            msg = f"The server at {self.url} ended its stream in the middle."
            raise ConnectionLost(msg)
        except ConnectionLost as lost:
            if self._closed:
                msg = f"The connection to {self.url} has been closed."
                raise ConnectionLost(msg) from lost
            lost.handed_in = handed_in
            raise

    async def post(
        self,
        fn_index: int,
        data: Sequence[Any],
        session_hash: str,
        *,
        timeout: float = POST_TIMEOUT,
    ) -> list[Any]:
        """Run a function and return its outputs, past the queue where the server allows it."""
        if self._function(fn_index).get("queue") is False:
            body = await self._body(fn_index, data, session_hash)
            answer = await self._http.post(f"{self._prefix}/run/predict", body, timeout)
            return list(await self._outward(fn_index, answer.get("data"), stale=False))
        try:
            async with (
                asyncio.timeout(timeout),
                contextlib.aclosing(self.call(fn_index, data, session_hash)) as messages,
            ):
                async for message in messages:
                    if isinstance(message, Completed):
                        if not message.success:
                            reason = message.error or "it gave no reason"
                            msg = f"The server at {self.url} refused function {fn_index}: {reason}."
                            raise EngineError(msg)
                        return list(message.data)
        except TimeoutError as error:
            msg = f"The server at {self.url} did not answer in {timeout:g} s."
            raise ConnectionLost(msg) from error
        msg = f"The server at {self.url} ended function {fn_index} without an answer."
        raise ConnectionLost(msg)

    async def aclose(self) -> None:
        """End every stream and close every connection."""
        self._closed = True
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            stream.fail(ConnectionLost(f"The connection to {self.url} has been closed."))
        await asyncio.gather(*(stream.aclose() for stream in streams))
        await super().aclose()

    # -- one call -----------------------------------------------------------------------------

    def _function(self, fn_index: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] | None = self._functions.get(fn_index)
        if found is None:
            msg = f"The server at {self.url} has no function {fn_index}."
            raise EngineError(msg)
        return found

    async def _body(self, fn_index: int, data: Sequence[Any], session_hash: str) -> dict[str, Any]:
        kinds = self._kinds_of(self._function(fn_index).get("inputs"))
        kinds += [""] * (len(data) - len(kinds))
        values = [
            await _to_wire(kind, value, self._upload)
            for kind, value in zip(kinds, data, strict=False)
        ]
        return {"fn_index": fn_index, "session_hash": session_hash, "data": values}

    async def _upload(self, data: bytes, mime: str) -> dict[str, Any]:
        """Upload an image and return how an input names it."""
        utils = await self._gradio_client()
        name = f"image.{mime.partition('/')[2] or 'png'}"
        answer = await self._http.request(
            "POST",
            f"{self._prefix}/{utils.UPLOAD_URL}",
            files={"files": (name, data, mime)},
            timeout=UPLOAD_TIMEOUT,
        )
        paths = self._http.json_of(answer)
        if answer.status != 200 or not isinstance(paths, list) or not paths:
            msg = f"The server at {self.url} did not take an image ({answer.status})."
            raise EngineError(msg)
        return {"path": paths[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    async def _join(self, path: str, body: dict[str, Any]) -> str:
        """Put a call into the server's queue and return what it is called there."""
        answer = await self._http.request("POST", path, json=body, timeout=JOIN_TIMEOUT)
        content = self._http.json_of(answer)
        found = content if isinstance(content, dict) else {}
        if answer.status == 200 and isinstance(found.get("event_id"), str):
            return str(found["event_id"])
        reason = str(found.get("detail") or found.get("error") or "it gave no reason")[:500]
        msg = f"The server at {self.url} did not take the call ({answer.status}): {reason}."
        if answer.status in (401, 403):
            raise UnsupportedServer(msg)
        if answer.status in (502, 504):
            raise ConnectionLost(msg)
        remedy = "Try again when it has less to do." if answer.status == 503 else ""
        raise GenerationError(msg, remedy=remedy)

    async def _hand_in(self, body: dict[str, Any]) -> None:
        """Send the values of a call that the server asks for."""
        path = f"{self._prefix}/{DATA_OF_ONE}"
        answer = await self._http.request("POST", path, json=body, timeout=JOIN_TIMEOUT)
        if answer.status != 200:
            msg = f"The server at {self.url} did not take the call ({answer.status})."
            raise GenerationError(msg)

    async def _leave(
        self, stream: _EventStream, session_hash: str, event: str, fn_index: int
    ) -> None:
        """Drop a call; one that has not ended is cancelled on the server."""
        unfinished = stream.forget(event)
        if stream.calls == 0:
            # The server drops all of a session's events when nobody listens to it any more.
            if self._streams.get(session_hash) is stream:
                del self._streams[session_hash]
            await stream.aclose()
        elif unfinished and not self._closed:
            utils = await self._gradio_client()
            body = {"event_id": event, "fn_index": fn_index, "session_hash": session_hash}
            with contextlib.suppress(ConnectionLost):
                path = f"{self._prefix}/{utils.CANCEL_URL}"
                await self._http.request("POST", path, json=body, timeout=JOIN_TIMEOUT)

    async def _gradio_client(self) -> Any:
        """Import what gradio_client knows of the wire; it takes a third of a second to load."""
        if self._utils is None:
            self._utils = await asyncio.to_thread(_import_gradio_client)
        return self._utils

    def _whole(self, utils: Any, last: list[Any] | None, data: list[Any]) -> list[Any]:
        """Apply an update that only tells the differences."""
        if last is None or not self._differences:
            return data
        before = last + [None] * (len(data) - len(last))
        limit = self._http.max_message
        try:
            # Each may add to the last. Beforehand: both are there while they are put together.
            if _weight(last) + sum(map(_weight_added, data)) > limit:
                raise self._http.too_large("a call", limit)
            whole = [utils.apply_diff(old, new) for old, new in zip(before, data, strict=True)]
        except (
            *(AttributeError, IndexError, KeyError, OverflowError, RecursionError),
            *(TypeError, ValueError),
        ) as error:
            msg = f"The server at {self.url} sent an update that does not fit the last one."
            raise ConnectionLost(msg) from error
        if _weight(whole) > limit:
            raise self._http.too_large("a call", limit)
        return whole

    async def _outward(self, fn_index: int, data: Any, *, stale: bool) -> tuple[Any, ...]:
        """Return outputs in the form of Gradio 3: images, but not galleries, as data URIs."""
        if not isinstance(data, list):
            return ()
        function = self._function(fn_index)
        kinds = self._kinds_of(function.get("outputs"))
        if str(function.get("api_name")) in self._image_endpoints and "gallery" not in kinds:
            return tuple(data)
        kinds += [""] * (len(data) - len(kinds))
        return tuple(
            [
                await self._image(kind, value, stale=stale)
                for kind, value in zip(kinds, data, strict=False)
            ]
        )

    def _kinds_of(self, numbers: Any) -> list[str]:
        """Return what kinds of components a function names, which may be any JSON."""
        listed = numbers if isinstance(numbers, list) else []
        return [self._kinds.get(each, "") if isinstance(each, int) else "" for each in listed]

    async def _image(self, kind: str, value: Any, *, stale: bool) -> Any:
        if isinstance(value, dict) and {"background", "layers"} <= set(value):
            path = _file_path(value["background"]) or _file_path(value.get("composite"))
            return None if path is None else await self._fetched(path)
        update = isinstance(value, dict) and value.get("__type__") == "update"
        path = _file_path(value.get("value") if update else value) if kind == "image" else None
        if path is None:
            return value
        if stale:
            # The next message is here already: nobody needs to see this preview any more.
            return {"__type__": "update"}
        try:
            image: Any = await self._fetched(path)
        except EngineError:
            return {"__type__": "update"}  # a preview that is gone already
        return {**value, "value": image} if update else image

    async def _fetched(self, path: str) -> str:
        """Return an image that is part of a message as the message would hold it."""
        return encode_data_uri(await self.fetch(path, self._http.max_message))


def _import_gradio_client() -> Any:
    from gradio_client import utils

    return utils


class _EventStream:
    """The event stream of all calls of one session, with a queue for each call."""

    def __init__(self, http: HttpSession, path: str) -> None:
        self.calls = 0
        self._http = http
        self._path = path
        self._queues: dict[str, asyncio.Queue[dict[str, Any] | Exception]] = {}
        self._sizes: dict[str, int] = {}
        self._pending: set[str] = set()
        self._ended: set[str] = set()
        self._reader: asyncio.Task[None] | None = None

    def listen(self, event: str) -> asyncio.Queue[dict[str, Any] | Exception]:
        """Return the queue of a call's messages, those received before this moment included."""
        if event not in self._ended:
            self._pending.add(event)
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read())
        return self._queue(event)

    def forget(self, event: str) -> bool:
        """Drop a call, and return whether it had not ended."""
        self._queues.pop(event, None)
        self._sizes.pop(event, None)
        unfinished = event in self._pending
        self._pending.discard(event)
        return unfinished

    def fail(self, error: Exception) -> None:
        """Fail every pending call."""
        for event in self._pending:
            self._queue(event).put_nowait(error)

    async def aclose(self) -> None:
        """Close the stream; the server closes it by itself when no call is pending."""
        if self._reader is not None:
            if not self._pending:
                await asyncio.wait({self._reader}, timeout=CLOSE_TIMEOUT)
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    def _queue(self, event: str) -> asyncio.Queue[dict[str, Any] | Exception]:
        return self._queues.setdefault(event, asyncio.Queue())

    async def _read(self) -> None:
        try:
            while self._pending:
                if not await self._read_stream():
                    msg = f"The server at {self._http.url} ended its stream in the middle."
                    raise ConnectionLost(msg)
        except Exception as error:  # noqa: BLE001 - the pending calls must hear of it
            self.fail(error)

    async def _read_stream(self) -> bool:
        """Dispatch the events of one stream, and return whether there were any."""
        told = False
        async with contextlib.aclosing(self._http.events(self._path, SILENCE)) as stream:
            async for message, size in stream:
                kind, event = message.get("msg"), message.get("event_id")
                if kind == "close_stream":
                    break
                if kind in ("unexpected_error", "server_stopped") and not event:
                    reason = message.get("message") or "it gave no reason"
                    msg = f"The server at {self._http.url} broke off: {reason}."
                    raise ConnectionLost(msg)
                if isinstance(event, str):
                    told = True
                    self._take(event, message, size)
        return told

    def _take(self, event: str, message: dict[str, Any], size: int) -> None:
        # What waits is read soon, or is of a call that nobody has made.
        waiting = self._queue(event)
        self._sizes[event] = size + (0 if waiting.empty() else self._sizes.get(event, 0))
        if sum(self._sizes.values()) > self._http.max_message or len(self._queues) > MAX_CALLS:
            raise self._http.too_large("its calls", self._http.max_message)
        waiting.put_nowait(message)
        if message.get("msg") == "process_completed":
            self._pending.discard(event)
            self._ended.add(event)


# -- images -----------------------------------------------------------------------------------


async def _to_wire(kind: str, value: Any, upload: _Upload) -> Any:
    """Return an input as the server takes it: files that are uploaded in place of data URIs."""
    if isinstance(value, dict) and set(value) == {"image", "mask"}:
        if kind not in EDITORS:
            msg = f"This server's {kind} takes an image without a mask; give the mask by itself."
            raise ParameterError(msg)
        return await _layered(value["image"], value["mask"], upload)
    if not isinstance(value, str) or (decoded := decode_data_uri(value)) is None:
        return value
    if kind in EDITORS:
        return await _layered(value, None, upload)
    return await upload(*decoded)


async def _layered(image: str, mask: str | None, upload: _Upload) -> dict[str, Any]:
    """Return an image and its mask as an editor has them: what is painted is a layer above."""
    decoded = decode_data_uri(image)
    if decoded is None:
        msg = "The image is no data URI that can be read."
        raise ParameterError(msg)
    background = await upload(*decoded)
    if mask is None:
        return {"background": background, "layers": [], "composite": background}
    painted = decode_data_uri(mask)
    layer, composite = _painted(decoded[0], painted[0] if painted else b"")
    return {
        "background": background,
        "layers": [await upload(layer, "image/png")],
        "composite": await upload(composite, "image/png"),
    }


def _painted(image: bytes, mask: bytes) -> tuple[bytes, bytes]:
    """Return white paint where the mask is, and the image with that paint on it."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image)) as opened, Image.open(io.BytesIO(mask)) as drawn:
            alpha = drawn.convert("L").resize(opened.size)
            layer = Image.new("RGBA", opened.size, (255, 255, 255, 0))
            layer.putalpha(alpha)
            composite = Image.alpha_composite(opened.convert("RGBA"), layer)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"The image or its mask cannot be read: {error}."
        raise ParameterError(msg) from error
    return _png(layer), _png(composite)


def _png(image: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _weight_added(difference: Any) -> int:
    """Return about how many bytes an update adds to a value."""
    return sum(_weight(value) for action, _, value in difference if action in ("append", "add"))


def _weight(value: Any) -> int:
    """Return roughly how many bytes a value of JSON takes."""
    total, level = 0, [value]
    while level:
        total += sum(len(each) if isinstance(each, str) else 64 for each in level)
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in ((*each, *each.values()) if isinstance(each, dict) else each)
        ]
    return total


def _file_path(value: Any) -> str | None:
    """Return the server's path of a file that it names; None for anything else."""
    path = value.get("path") if isinstance(value, dict) else None
    return path if isinstance(path, str) and path else None
