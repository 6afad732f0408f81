"""How the images of a generation are copied when the connection breaks meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fooocus_nb.demo.page import Page
from fooocus_nb.engine.jobs import image_collector
from fooocus_nb.engine.jobs.image_collector import FETCH_ATTEMPTS, ImageCollector
from fooocus_nb.errors import ConnectionLost
from fooocus_nb.fooocus.requests import build_request
from fooocus_nb.fooocus.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

REQUEST = build_request(Schema.from_config(Page().config), "a harbour", {"image_seed": 7})


class Server:
    """Fails to send files so many times, and counts how often it is asked for each."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked: list[str] = []

    async def fetch(self, server_path: str, _facts: object) -> Path:
        self.asked.append(server_path)
        if self.failures:
            self.failures -= 1
            msg = "the connection broke"
            raise ConnectionLost(msg)
        return Path("outputs") / Path(server_path).name


def collect(fetch: Callable[[str, object], Awaitable[Path]]) -> ImageCollector:
    collector = ImageCollector(REQUEST, fetch)
    collector.final = ("/tmp/gradio/one.png", "/tmp/gradio/two.png")
    asyncio.run(collector.take_all())
    return collector


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_collector, "FETCH_PAUSE", 0.0)


@pytest.mark.parametrize("failures", range(FETCH_ATTEMPTS))
def test_an_image_is_fetched_again_as_often_as_allowed(failures: int) -> None:
    server = Server(failures)
    collector = collect(server.fetch)
    assert collector.paths == (Path("outputs/one.png"), Path("outputs/two.png"))
    assert server.asked == ["/tmp/gradio/one.png"] * (failures + 1) + ["/tmp/gradio/two.png"]


def test_after_three_attempts_it_is_given_up() -> None:
    server = Server(1000)
    with pytest.raises(ConnectionLost):
        collect(server.fetch)
    assert FETCH_ATTEMPTS == 3
    assert server.asked == ["/tmp/gradio/one.png"] * 3
