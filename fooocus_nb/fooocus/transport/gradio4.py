"""The wire of Gradio 4, 5 and 6: calls are posted, and a stream of events tells of them.

The addresses and the differences in which a server tells of an update are gradio_client's own.
Its `Client` is not used: it holds five threads for each session, prints tracebacks of a broken
connection into the notebook, and can neither be closed in the middle nor share one session among
some calls and not among others. So the calls are made here, on the caller's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ConnectionLost, EngineError, GenerationError, UnsupportedServer
from fooocus_nb.fooocus.outputs import updated_value
from fooocus_nb.fooocus.schema.named_api import ENDPOINT
from fooocus_nb.fooocus.transport import Completed, Estimation, Generating, Message, Started
from fooocus_nb.fooocus.transport._payload import as_data_uri, file_path, to_wire
from fooocus_nb.fooocus.transport.http import HttpSession, normalise_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

__all__ = ["PROTOCOLS", "Gradio4Transport"]

#: What such a server may call its protocol, and whether updates come as differences.
PROTOCOLS = {"sse_v1": False, "sse_v2": True, "sse_v2.1": True, "sse_v3": True}
#: Seconds without a word. The server's heartbeat comes every fifteen, unless it holds its GIL.
SILENCE = 300.0
#: Seconds for the end of a stream of which all is told; nothing depends on it.
FAREWELL = 1.0
#: Seconds to take a call in, and to take a picture in.
JOIN_TIMEOUT = 30.0
UPLOAD_TIMEOUT = 120.0


class Gradio4Transport:
    """A connection to a server of Gradio 4 or later.

    Parameters
    ----------
    url : str
        The server's address, a path prefix included.
    config : mapping
        What it answered to ``/config``.
    timeout : float, optional
        Seconds to wait for the server's description.

    Raises
    ------
    UnsupportedServer
        When it speaks a protocol that we do not.
    """

    def __init__(self, url: str, config: Mapping[str, Any], *, timeout: float = 10.0) -> None:
        self._http = HttpSession(normalise_url(url))
        self._timeout = timeout
        self._sessions: dict[str, _Session] = {}
        self._closed = False
        self._utils: Any = None
        protocol = config.get("protocol")
        if protocol not in PROTOCOLS:
            msg = (
                f"The server at {self.url} runs Gradio {config.get('version', '(unknown)')} "
                f"(protocol {protocol!r}), which is not supported. Gradio 3, and 4.8 and later are."
            )
            raise UnsupportedServer(msg)
        self._differences = PROTOCOLS[protocol]
        self._prefix = str(config.get("api_prefix") or "").rstrip("/")
        self._functions = {
            item.get("id", position): item for position, item in enumerate(config["dependencies"])
        }
        self._kinds = {item["id"]: str(item["type"]) for item in config["components"]}

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        return self._http.url

    async def config(self) -> dict[str, Any]:
        """Return what ``/config`` answers.

        Returns
        -------
        dict
        """
        return await self._http.config(self._timeout)

    async def info(self) -> dict[str, Any]:
        """Return what ``/info`` answers: the functions with a name, and what they take.

        Returns
        -------
        dict

        Raises
        ------
        UnsupportedServer
            When the server does not tell.
        """
        answer = await self._http.request("GET", f"{self._prefix}/info", timeout=self._timeout)
        content = _json(answer)
        if answer.status_code != 200 or not isinstance(content, dict):
            msg = f"The server at {self.url} does not describe its functions."
            raise UnsupportedServer(msg)
        return content

    async def call(
        self, fn_index: int, data: Sequence[Any], session_hash: str
    ) -> AsyncGenerator[Message, None]:
        """Run a queued function.

        Parameters
        ----------
        fn_index : int
            Which function.
        data : sequence
            Its inputs, in order; pictures are data URIs.
        session_hash : str
            Calls with the same hash share the server's state.

        Yields
        ------
        Message
            `Completed` is the last.

        Raises
        ------
        ConnectionLost
            When the server cannot be reached, or breaks the connection before the end.
        GenerationError
            When the server does not take the call.
        """
        utils = await self._gradio_client()
        body = await self._body(fn_index, data, session_hash)
        session = self._sessions.get(session_hash)
        if session is None:
            path = f"{self._prefix}/{utils.SSE_URL}?session_hash={session_hash}"
            session = self._sessions[session_hash] = _Session(self._http, path)
        session.calls += 1
        event = ""
        try:
            event = await self._join(f"{self._prefix}/{utils.SSE_DATA_URL}", body)
            messages = session.listen(event)
            last: list[Any] | None = None
            while True:
                answer = await messages.get()
                if isinstance(answer, Exception):
                    lost = ConnectionLost(str(answer))
                    lost.handed_in = True
                    raise lost from answer
                output = answer.get("output")
                output = output if isinstance(output, dict) else {}
                data_out = output.get("data")
                if isinstance(data_out, list) and answer.get("msg") == "process_generating":
                    last = self._whole(utils, last, data_out)
                    data_out = last
                outputs = await self._outward(fn_index, data_out, stale=not messages.empty())
                message = _translate(answer, outputs, output)
                if message is not None:
                    yield message
                if isinstance(message, Completed):
                    return
        finally:
            session.calls -= 1
            await self._leave(session, session_hash, event, fn_index)

    async def post(
        self,
        fn_index: int,
        data: Sequence[Any],
        session_hash: str,
        *,
        timeout: float = 30.0,
    ) -> list[Any]:
        """Run a function and return its outputs, past the queue where the server allows it.

        Parameters
        ----------
        fn_index : int
            Which function.
        data : sequence
            Its inputs, in order.
        session_hash : str
            Calls with the same hash share the server's state.
        timeout : float, optional
            Seconds to wait for the answer.

        Returns
        -------
        list
            Its outputs.
        """
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

    async def fetch(self, path: str) -> bytes:
        """Return the bytes of a file that the server offers.

        Parameters
        ----------
        path : str
            As the server named it.

        Returns
        -------
        bytes
        """
        return await self._http.fetch(path, self._prefix)

    async def age(self, path: str) -> float | None:
        """Return how long ago a file was written, by the server's own clock.

        Parameters
        ----------
        path : str
            As the server named it.

        Returns
        -------
        float or None
            Seconds; None where the server does not tell, or has no such file.
        """
        return await self._http.age(path, self._prefix)

    async def answers(self, timeout: float) -> bool:
        """Whether the web server answers.

        Parameters
        ----------
        timeout : float
            Seconds to wait.

        Returns
        -------
        bool
        """
        return await self._http.answers(timeout)

    async def aclose(self) -> None:
        """End every stream and close every connection."""
        self._closed = True
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            session.fail(ConnectionLost(f"The connection to {self.url} has been closed."))
        await asyncio.gather(*(session.aclose() for session in sessions))
        await self._http.aclose()

    # -- one call -----------------------------------------------------------------------------

    def _function(self, fn_index: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] | None = self._functions.get(fn_index)
        if found is None:
            msg = f"The server at {self.url} has no function {fn_index}."
            raise EngineError(msg)
        return found

    async def _body(self, fn_index: int, data: Sequence[Any], session_hash: str) -> dict[str, Any]:
        inputs = self._function(fn_index).get("inputs") or ()
        kinds = [self._kinds.get(number, "") for number in inputs]
        kinds += [""] * (len(data) - len(kinds))
        values = [
            await to_wire(kind, value, self._upload)
            for kind, value in zip(kinds, data, strict=False)
        ]
        return {"fn_index": fn_index, "session_hash": session_hash, "data": values}

    async def _upload(self, data: bytes, mime: str) -> dict[str, Any]:
        """Hand a picture to the server and return how an input names it."""
        utils = await self._gradio_client()
        name = f"image.{mime.partition('/')[2] or 'png'}"
        answer = await self._http.request(
            "POST",
            f"{self._prefix}/{utils.UPLOAD_URL}",
            files={"files": (name, data, mime)},
            timeout=UPLOAD_TIMEOUT,
        )
        paths = _json(answer)
        if answer.status_code != 200 or not isinstance(paths, list) or not paths:
            msg = f"The server at {self.url} did not take a picture ({answer.status_code})."
            raise EngineError(msg)
        return {"path": paths[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    async def _join(self, path: str, body: dict[str, Any]) -> str:
        """Put a call into the server's queue and return what it is called there."""
        answer = await self._http.request("POST", path, json=body, timeout=JOIN_TIMEOUT)
        content = _json(answer)
        found = content if isinstance(content, dict) else {}
        if answer.status_code == 200 and isinstance(found.get("event_id"), str):
            return str(found["event_id"])
        reason = str(found.get("detail") or found.get("error") or "it gave no reason")[:500]
        msg = f"The server at {self.url} did not take the call ({answer.status_code}): {reason}."
        if answer.status_code in (401, 403):
            raise UnsupportedServer(msg)
        if answer.status_code in (502, 504):
            raise ConnectionLost(msg)
        remedy = "Try again when it has less to do." if answer.status_code == 503 else ""
        raise GenerationError(msg, remedy=remedy)

    async def _leave(self, session: _Session, session_hash: str, event: str, fn_index: int) -> None:
        """Forget a call; one that has not ended is taken from the queue, or ended."""
        abandoned = session.forget(event)
        if session.calls == 0:
            # The server drops all of a session's events when nobody listens to it any more.
            if self._sessions.get(session_hash) is session:
                del self._sessions[session_hash]
            await session.aclose()
        elif abandoned and not self._closed:
            utils = await self._gradio_client()
            body = {"event_id": event, "fn_index": fn_index, "session_hash": session_hash}
            with contextlib.suppress(ConnectionLost):
                path = f"{self._prefix}/{utils.CANCEL_URL}"
                await self._http.request("POST", path, json=body, timeout=JOIN_TIMEOUT)

    async def _gradio_client(self) -> Any:
        """Return what gradio_client knows of the wire; it takes a third of a second to load."""
        if self._utils is None:
            name = "gradio_client.utils"
            self._utils = await asyncio.to_thread(importlib.import_module, name)
        return self._utils

    def _whole(self, utils: Any, last: list[Any] | None, data: list[Any]) -> list[Any]:
        """Return the outputs as they are now, where only their differences are told."""
        if last is None or not self._differences:
            return data
        before = last + [None] * (len(data) - len(last))
        try:
            return [utils.apply_diff(old, new) for old, new in zip(before, data, strict=True)]
        except (ValueError, TypeError, KeyError, IndexError) as error:
            msg = f"The server at {self.url} told an update that does not fit the last one."
            raise ConnectionLost(msg) from error

    async def _outward(self, fn_index: int, data: Any, *, stale: bool) -> tuple[Any, ...]:
        """Return outputs in the form of Gradio 3: pictures, but not galleries, as data URIs."""
        if not isinstance(data, list):
            return ()
        function = self._function(fn_index)
        kinds = [self._kinds.get(number) for number in function["outputs"]]
        if function.get("api_name") == ENDPOINT and "gallery" not in kinds:
            return tuple(data)  # its picture is no preview but the image itself
        kinds += [None] * (len(data) - len(kinds))
        return tuple(
            [
                await self._picture(value, stale=stale) if kind == "image" else value
                for kind, value in zip(kinds, data, strict=False)
            ]
        )

    async def _picture(self, value: Any, *, stale: bool) -> Any:
        path = file_path(updated_value(value))
        if path is None:
            return value
        if stale:
            # The next message is here already: nobody needs to see this preview any more.
            return {"__type__": "update"}
        try:
            picture: Any = as_data_uri(await self.fetch(path))
        except EngineError:
            return {"__type__": "update"}  # a preview that is gone already
        return {**value, "value": picture} if value.get("__type__") == "update" else picture


class _Session:
    """The stream that tells of all calls of one session, and who waits for which of them."""

    def __init__(self, http: HttpSession, path: str) -> None:
        self.calls = 0
        self._http = http
        self._path = path
        self._queues: dict[str, asyncio.Queue[dict[str, Any] | Exception]] = {}
        self._pending: set[str] = set()
        self._ended: set[str] = set()
        self._reader: asyncio.Task[None] | None = None

    def listen(self, event: str) -> asyncio.Queue[dict[str, Any] | Exception]:
        """Return where the messages of a call arrive, those from before this moment too."""
        if event not in self._ended:
            self._pending.add(event)
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read())
        return self._queue(event)

    def forget(self, event: str) -> bool:
        """Drop a call, and return whether it had not ended."""
        self._queues.pop(event, None)
        unfinished = event in self._pending
        self._pending.discard(event)
        return unfinished

    def fail(self, error: Exception) -> None:
        """Tell all who wait that nothing more will come."""
        for event in self._pending:
            self._queue(event).put_nowait(error)

    async def aclose(self) -> None:
        """End the stream; where nothing is left to tell, the server ends it by itself."""
        if self._reader is not None:
            if not self._pending:
                await asyncio.wait({self._reader}, timeout=FAREWELL)
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
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            self.fail(error)

    async def _read_stream(self) -> bool:
        """Hand out what one stream tells, and return whether that was anything."""
        told = False
        async with contextlib.aclosing(self._http.events(self._path, SILENCE)) as stream:
            async for message in stream:
                kind, event = message.get("msg"), message.get("event_id")
                if kind == "close_stream":
                    break
                if kind in ("unexpected_error", "server_stopped") and not event:
                    reason = message.get("message") or "it gave no reason"
                    msg = f"The server at {self._http.url} broke off: {reason}."
                    raise ConnectionLost(msg)
                if isinstance(event, str):
                    told = True
                    self._take(event, message)
        return told

    def _take(self, event: str, message: dict[str, Any]) -> None:
        self._queue(event).put_nowait(message)
        if message.get("msg") == "process_completed":
            self._pending.discard(event)
            self._ended.add(event)


def _translate(
    answer: Mapping[str, Any], outputs: tuple[Any, ...], output: Mapping[str, Any]
) -> Message | None:
    """Return a message of the wire as ours; None for one that tells us nothing."""
    match answer.get("msg"):
        case "estimation":
            eta = answer.get("rank_eta")
            return Estimation(
                rank=_count(answer.get("rank")),
                queue_size=_count(answer.get("queue_size")),
                eta=float(eta) if isinstance(eta, (int, float)) else None,
            )
        case "process_starts":
            return Started()
        case "process_generating":
            return Generating(outputs)
        case "process_completed" | "unexpected_error":
            error = output.get("error") or answer.get("message")
            success = bool(answer.get("success", True)) and answer["msg"] == "process_completed"
            return Completed(outputs, success, None if error is None else str(error))
        case _:
            return None


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _json(answer: Any) -> object:
    try:
        return answer.json()
    except ValueError:
        return None
