"""Nothing waits without an end: held by reading the source, each exception with its reason."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fooocus_nb

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(fooocus_nb.__file__).parent
#: Without an argument these wait for as long as it takes; `str.join` and `dict.get` have one.
WAITS = {"acquire", "communicate", "join", "recv", "wait"}
#: These take a timeout by name.
NAMED = {"check_call", "check_output", "create_connection", "run", "urlopen"}
MODULES = {"socket", "subprocess", "urllib", "request"}
#: What may wait for ever, and what ends it.
ALLOWED = {
    ("supervisor/_drain.py", "_save"): "the guardian's own thread, which the child's end wakes",
    ("fooocus/transport/gradio3.py", "take"): "engine.liveness watches every generation",
    ("fooocus/transport/gradio3.py", "_received"): "take waits for it",
    ("fooocus/transport/gradio3.py", "_until_taken"): "it is inside of asyncio.timeout",
    ("engine/jobs/job.py", "_leave_queue"): "it is inside of asyncio.wait_for",
    ("engine/lifecycle.py", "end"): "Watchdog.join has a timeout of its own",
}


def waits_of(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """The function, line and text of every call that may wait for ever."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and _endless(node):
                yield function.name, node.lineno, ast.unparse(node)


def _endless(call: ast.Call) -> bool:
    func = call.func
    if not isinstance(func, ast.Attribute):
        return False
    names = {keyword.arg for keyword in call.keywords}
    if func.attr in WAITS:
        first = call.args[0] if call.args else None
        never = isinstance(first, ast.Constant) and first.value is None
        return never or not (call.args or names)
    named = func.attr in NAMED and isinstance(func.value, ast.Name) and func.value.id in MODULES
    return named and "timeout" not in names and len(call.args) < 2


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.rglob("*.py")) if "demo" not in path.parts],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_every_wait_has_a_timeout(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [wait for wait in waits_of(tree) if (name, wait[0]) not in ALLOWED]
    assert not found, f"{name} may wait for ever: {found}"


@pytest.mark.parametrize(
    ("code", "endless"),
    [
        ("thread.join()", True),
        ("thread.join(5)", False),
        ("', '.join(words)", False),
        ("event.wait()", True),
        ("event.wait(None)", True),
        ("process.wait(timeout=3)", False),
        ("subprocess.run(command)", True),
        ("subprocess.run(command, timeout=3)", False),
        ("socket.create_connection(address)", True),
        ("socket.create_connection(address, 2)", False),
        ("await queue.get()", False),  # ended by whoever fills it
    ],
)
def test_what_counts_as_a_wait(code: str, endless: bool) -> None:
    assert bool(list(waits_of(ast.parse(f"async def work():\n    {code}")))) is endless
