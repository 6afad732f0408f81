"""A stock Firefox, driven over WebDriver BiDi, which Playwright does not speak to it."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

from ..websockets_direct import connect_directly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 90.0
_LISTENS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


class Firefox:
    """One running Firefox with one tab in front."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.ask("session.new", capabilities={})
        self.tab = self.contexts()[0]["context"]

    def ask(self, method: str, **params: Any) -> Any:
        """Send a command and return its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        deadline = time.monotonic() + SECONDS
        while True:
            said = json.loads(self._socket.recv(timeout=deadline - time.monotonic()))
            if said.get("id") == number:  # the rest are events
                assert said["type"] == "success", said
                return said["result"]

    def contexts(self, root: str | None = None) -> list[dict[str, Any]]:
        """Return the tabs, or the frames of one, as they are now."""
        found = self.ask("browsingContext.getTree", **({"root": root} if root else {}))["contexts"]
        return found[0]["children"] if root else found

    def open(self, address: str, wait: str = "complete") -> None:
        """Load a page in the tab; without `wait`, only begin to."""
        self.ask("browsingContext.navigate", context=self.tab, url=address, wait=wait)

    def value(self, expression: str, context: str | None = None) -> Any:
        """Return the value of an expression of plain data."""
        said = self.ask(
            "script.evaluate",
            expression=f"JSON.stringify({expression})",
            target={"context": context or self.tab},
            awaitPromise=True,
        )
        assert said["type"] == "success", said
        text = said["result"].get("value")
        return None if text is None else json.loads(text)

    def wait_for(self, expression: str, context: str | None = None) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + SECONDS
        while not self.value(f"Boolean({expression})", context):
            assert time.monotonic() < deadline, f"never came true: {expression}"
            time.sleep(0.1)

    def cookies(self) -> dict[str, str]:
        """Return all cookies, by name."""
        found = self.ask("storage.getCookies")["cookies"]
        return {cookie["name"]: cookie["value"]["value"] for cookie in found}


@contextlib.contextmanager
def run_firefox(program: str, folder: Path) -> Iterator[Firefox]:
    """Run a Firefox with a new profile in a folder."""
    profile, log = folder / "profile", folder / "firefox.log"
    profile.mkdir(parents=True)
    command = [program, "--headless", "--no-remote", "--profile", str(profile)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--remote-debugging-port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + SECONDS
        while not (found := _LISTENS.search(log.read_text(errors="replace"))):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        # It refuses whoever says where he comes from.
        with connect_directly(f"{found[1]}/session", origin=None, max_size=None) as socket:
            firefox = Firefox(socket)
            yield firefox
            with contextlib.suppress(Exception):
                firefox.ask("browser.close")
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait(10)
