"""Real kernels that run cells, and what a frontend would show of them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ABORTED_TRIES = 20
CELL_TIMEOUT = 60.0


@dataclass
class Cell:
    """What has become of a cell: its outputs, as a notebook would save them.

    Attributes
    ----------
    status : str
        ``ok`` or ``error``.
    outputs : list of dict
        The contents of its messages; an update has taken the place of what it updates.
    updates : int
        How often a display was updated.
    error : str
        The traceback, as it is shown.
    """

    status: str = ""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    updates: int = 0
    error: str = ""

    @property
    def text(self) -> str:
        """What was printed."""
        return "".join(output.get("text", "") for output in self.outputs)

    @property
    def shown(self) -> str:
        """The plain text of what was displayed."""
        return "\n".join(bundle["text/plain"] for bundle in self.bundles)

    @property
    def bundles(self) -> list[dict[str, Any]]:
        """The MIME bundles."""
        return [output["data"] for output in self.outputs if "data" in output]

    def take(self, message: dict[str, Any]) -> None:
        """Show one message."""
        content, kind = message["content"], message["header"]["msg_type"]
        display_id = content.get("transient", {}).get("display_id")
        if kind == "update_display_data":
            self.updates += 1
            for output in self.outputs:
                if output.get("transient", {}).get("display_id") == display_id:
                    output["data"] = content["data"]
        elif kind in ("stream", "display_data", "execute_result"):
            self.outputs.append(content)
        elif kind == "error":
            self.error = "\n".join(content["traceback"])
        elif kind == "clear_output":
            self.outputs.clear()


class Notebook:
    """A kernel, with a client that runs cells in it."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(
        self,
        code: str,
        *,
        hook: Callable[[dict[str, Any]], None] | None = None,
        fails: bool = False,
    ) -> Cell:
        """Run a cell and return what it shows; it must succeed, or fail where that is expected."""
        cell = Cell()

        def take(message: dict[str, Any]) -> None:
            cell.take(message)
            if hook is not None:
                hook(message)

        # After an error a kernel aborts for a moment what it is sent, without running any of it.
        for _ in range(ABORTED_TRIES):
            reply = self.client.execute_interactive(code, timeout=CELL_TIMEOUT, output_hook=take)
            cell.status = reply["content"]["status"]
            if cell.status != "aborted":
                break
        assert cell.status == ("error" if fails else "ok"), cell.error or cell.text
        return cell

    def kill(self) -> None:
        """End the kernel as `kill -9` does, and start another one in its place."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def value(self, expression: str) -> Any:
        """Return the value of an expression of plain data."""
        cell = self.run(f"import json as _json\nprint(_json.dumps({expression}))")
        import json

        return json.loads(cell.text)

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true; the kernel is idle in between."""
        deadline = time.monotonic() + CELL_TIMEOUT
        while not self.value(f"bool({expression})"):
            assert time.monotonic() < deadline, f"never came true: {expression}"
            time.sleep(0.05)

    def speaker(self, *, subshell: bool) -> Callable[..., None]:
        """Return what sends messages to widgets as a browser does, on a subshell or not."""
        header: dict[str, str] = {}
        if subshell:
            request = self.client.session.msg("create_subshell_request", {})
            self.client.control_channel.send(request)
            reply = self.client.get_control_msg(timeout=CELL_TIMEOUT)
            header = {"subshell_id": reply["content"]["subshell_id"]}

        def say(widget: str, **content: Any) -> None:
            data = {"method": "custom", "content": content}
            message = self.client.session.msg("comm_msg", {"comm_id": widget, "data": data})
            message["header"].update(header)
            self.client.shell_channel.send(message)

        return say

    def interrupt_when(self, condition: Callable[[dict[str, Any]], bool]) -> Callable[..., None]:
        """Return a hook that interrupts the kernel at the first message that fulfils something."""
        done = threading.Event()

        def hook(message: dict[str, Any]) -> None:
            if not done.is_set() and condition(message):
                done.set()
                self.manager.interrupt_kernel()

        return hook

    def complete(self, code: str) -> list[str]:
        """Return what may stand at the end of the code."""
        self.client.complete(code, len(code))
        return self.client.get_shell_msg(timeout=CELL_TIMEOUT)["content"]["matches"]


@contextlib.contextmanager
def open_notebook(folder: Path, **environment: str) -> Iterator[Notebook]:
    """Start a kernel in a folder, and end it as a frontend does."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder), env=os.environ | environment)
    notebook = None
    try:
        notebook = Notebook(manager)
        yield notebook
    finally:
        if notebook is not None:
            notebook.client.stop_channels()
        manager.shutdown_kernel(now=False)
        manager.cleanup_resources()


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """A kernel with the magics and a demo engine that needs no time for a step."""
    folder = tmp_path_factory.mktemp("notebook")
    with open_notebook(folder, FOOOCUS_DEMO_STEP_SECONDS="0") as opened:
        opened.run("%load_ext fooocus_nb\n%fooocus start --demo")
        yield opened


@pytest.fixture
def new_notebook(tmp_path: Path) -> Iterator[Callable[..., Notebook]]:
    """Start kernels of their own, with environment variables."""
    with contextlib.ExitStack() as stack:

        def start(**environment: str) -> Notebook:
            opened = stack.enter_context(open_notebook(tmp_path, **environment))
            opened.run("%load_ext fooocus_nb")
            return opened

        yield start


@pytest.fixture
def kernel_in() -> Iterator[Callable[..., Notebook]]:
    """Start kernels in folders, with environment variables; nothing is loaded in them."""
    with contextlib.ExitStack() as stack:
        yield lambda folder, **environment: stack.enter_context(
            open_notebook(folder, **environment)
        )
