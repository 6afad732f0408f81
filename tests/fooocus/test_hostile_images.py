"""What a server gives for an image: refused where it is none, is too large, or is too much."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

import fooocus_nb
from fooocus_nb.engine.jobs.image_collector import ImageCollector
from fooocus_nb.errors import EngineError, GenerationError
from fooocus_nb.fooocus.requests import Request

from ..loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class SwappingProxy:
    """Stands before a server and gives out other files than the server does."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.removeprefix("http://").partition(":")
        self._port = int(port)
        #: What is answered for a file, head and body.
        self.answer = b""
        #: What is sent behind it, again and again.
        self.without_end = b""
        self._loop = LoopThread()
        self._server = self._loop.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with (
            contextlib.suppress(OSError, asyncio.IncompleteReadError),
            contextlib.closing(writer),  # also when it is cancelled
        ):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /file="):
                writer.write(self.answer)
                while self.without_end:
                    await writer.drain()
                    writer.write(self.without_end)
            else:
                there, back = await asyncio.open_connection(self._host, self._port)
                with contextlib.closing(back):
                    back.write(head)
                    await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _end(self) -> None:
        self._server.close()

    def close(self) -> None:
        """Cut all and end."""
        self._loop.run(self._end())
        self._loop.close()


@pytest.fixture
def proxy(gradio3_server) -> Iterator[SwappingProxy]:
    found = SwappingProxy(gradio3_server.url)
    yield found
    found.close()


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("body", [b"", b"<!DOCTYPE html><p>log in", b"\x89PNG\r\n\x1a\n", b"x" * 9])
def test_what_is_no_image_is_not_counted_as_one(
    proxy: SwappingProxy, tmp_path: Path, body: bytes
) -> None:
    proxy.answer = HEAD + body
    engine = fooocus_nb.connect(proxy.url, output_dir=tmp_path / "out")
    try:
        with pytest.raises(EngineError, match="no image") as caught:
            engine.generate("x", image_number=1)
        assert not caught.value.result
        assert not list((tmp_path / "out").glob("*"))
    finally:
        engine.stop()


def test_an_image_without_end(proxy: SwappingProxy, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FOOOCUS_NB_MAX_FILE_BYTES", "3000000")
    proxy.answer, proxy.without_end = HEAD + b"\x89PNG", b"x" * 1_000_000
    engine = fooocus_nb.connect(proxy.url, output_dir=tmp_path / "out")
    try:
        with pytest.raises(EngineError, match="more than 3 MB"):
            engine.generate("x", image_number=1)
    finally:
        engine.stop()


def test_thousands_of_files_for_one_image(tmp_path: Path) -> None:
    copied = []

    async def copy(path: str, _facts: dict[str, str]) -> Path:
        copied.append(path)
        return tmp_path / path

    async def talk() -> None:
        collector = ImageCollector(Request({"image_number": 1}, {}, 1), copy)
        collector.final = tuple(f"{number}.png" for number in range(10_000))
        await collector.take_all()

    with pytest.raises(GenerationError, match="more than 40 files for 1 images"):
        asyncio.run(talk())
    assert len(copied) == 40
