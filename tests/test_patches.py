"""Every value that a test replaces is one that the package reads: such a patch bites."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

TESTS = Path(__file__).parent


class Patch(NamedTuple):
    """One `monkeypatch.setattr` of a name in one of our modules."""

    test: str
    line: int
    module: str
    name: str


def _imported(tree: ast.Module) -> dict[str, str]:
    """The local names in a test file that may stand for our modules, with their dotted names."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fooocus_nb"):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("fooocus_nb"):
                    found[alias.asname or alias.name] = alias.name
    return found


def patches() -> Iterator[Patch]:
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "setattr" not in text:
            continue
        tree = ast.parse(text)
        names = _imported(tree)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr != "setattr" or not node.args:
                continue
            first, *rest = node.args
            if isinstance(first, ast.Constant) and str(first.value).startswith("fooocus_nb."):
                module, _, name = str(first.value).rpartition(".")
            elif len(rest) > 1 and isinstance(rest[0], ast.Constant):
                module, name = names.get(ast.unparse(first), ast.unparse(first)), rest[0].value
            else:
                continue
            if module.startswith("fooocus_nb."):
                where = path.relative_to(TESTS).as_posix()
                yield Patch(where, node.lineno, module, str(name))


def _reads(module: ModuleType, name: str) -> bool:
    """Whether the module's own functions look the name up, among its globals, when they run."""
    for function in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(function):
                if isinstance(node, ast.Name) and node.id == name:
                    return True
    return False


def test_patches_are_found() -> None:
    assert len(list(patches())) > 10


@pytest.mark.parametrize("patch", list(patches()), ids=lambda patch: f"{patch.module}.{patch.name}")
def test_a_patched_name_is_read(patch: Patch) -> None:
    try:
        module = importlib.import_module(patch.module)
    except ModuleNotFoundError:
        return  # an object and not a module: setting what it lacks raises by itself
    assert _reads(module, patch.name), f"{patch.test}:{patch.line}: nobody reads {patch.name}"
