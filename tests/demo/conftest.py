"""A client that speaks the bare wire, so that nothing between hides what the demo engine says."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect

from fooocus_nb.demo.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Recordings of real servers, beside the checkout where there are any.
RECORDED = Path(__file__).resolve().parents[3] / "shared" / "fooocus"
SMALL = {"overwrite_width": 128, "overwrite_height": 96, "overwrite_step": 3, "image_number": 1}
TIMEOUT = 30.0


@dataclass
class Wire:
    """Speaks to one demo engine.

    `messages` holds every message of the last generation, with the function's number.
    """

    url: str
    page: Page
    messages: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    on_message: Callable[[dict[str, Any]], None] = lambda message: None

    def join(self, name: str, data: list[Any], session: str) -> Iterator[dict[str, Any]]:
        """Run a queued function."""
        index = self.page.index(name)
        who = {"fn_index": index, "session_hash": session}
        url = f"ws{self.url.removeprefix('http')}/queue/join"
        with connect(url, max_size=None, open_timeout=TIMEOUT) as socket:
            for raw in iter(lambda: socket.recv(TIMEOUT), None):
                message = json.loads(raw)
                self.messages.append((index, message))
                if message["msg"] == "send_hash":
                    socket.send(json.dumps(who))
                elif message["msg"] == "send_data":
                    socket.send(json.dumps({**who, "data": data}))
                yield message
                if message["msg"] == "process_completed":
                    return

    def post(self, name: str, data: list[Any], session: str = "") -> dict[str, Any]:
        """Call a function that is not queued."""
        body = {"fn_index": self.page.index(name), "data": data, "session_hash": session}
        request = urllib.request.Request(
            f"{self.url}/run/predict",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=TIMEOUT) as answer:
            return answer.read()

    def task(self, **values: Any) -> list[Any]:
        """The inputs of the setter: the page's defaults, small images, and what is given."""
        wanted = {"random_seed": False, "seed": "7", **SMALL, **values}
        keys = self.page.functions[self.page.index("get_task")].inputs
        return [wanted[key] if key in wanted else self.page.default(key) for key in keys]

    def generate(self, session: str = "", **values: Any) -> list[str]:
        """Run one generation and return the paths of the final gallery."""
        self.messages = []
        session = session or uuid.uuid4().hex
        last: dict[str, Any] = {}
        for name, data in (("get_task", self.task(**values)), ("generate", [None])):
            for message in self.join(name, data, session):
                self.on_message(message)
                last = message
        gallery = last["output"]["data"][3]
        return [entry["name"] for entry in gallery["value"]] if gallery else []

    def texts(self) -> list[str]:
        """What the last generation's progress said."""
        shown = [output[0]["value"] for output in self.outputs() if output[0].get("value")]
        return [re.search(r"<span>(.*)</span>", text)[1] for text in shown]

    def outputs(self) -> list[list[dict[str, Any]]]:
        return [
            message["output"]["data"]
            for _, message in self.messages
            if message["msg"] == "process_generating"
        ]


@pytest.fixture
def wire(demo_server) -> Callable[..., Wire]:
    """Start a demo engine and speak to it; its `server` is the fixture's."""

    def start(*flags: str, step_seconds: float = 0.0, page: Page | None = None) -> Wire:
        server = demo_server(*flags, step_seconds=step_seconds)
        spoken = Wire(server.url, page or Page())
        spoken.server = server
        return spoken

    return start


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Return what the condition gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
    return found


def in_background(act: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


@pytest.fixture(name="wait_for")
def _wait_for():
    return wait_for


@pytest.fixture(name="in_background")
def _in_background():
    return in_background


@pytest.fixture
def recorded() -> Callable[[str], list[dict[str, Any]]]:
    """Read a recording of the real server, a JSON object a line."""

    def read(name: str) -> list[dict[str, Any]]:
        text = (RECORDED / "wire" / f"{name}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    return read


@pytest.fixture
def recorded_config() -> Callable[[str], Any]:
    return lambda name: json.loads((RECORDED / "config" / f"{name}.json").read_text("utf-8"))
