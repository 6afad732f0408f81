"""Looks at the files of a checkout and reads its Python source, of which nothing is run."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.plain_files import read_plain_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["called_name", "is_there", "literal", "parse_source"]

#: No honest file of these is larger; a wrong one must not be read whole.
MAX_SOURCE_BYTES = 1_000_000
#: What a broken or hostile source can raise.
_BROKEN = (SyntaxError, TypeError, ValueError, RecursionError, MemoryError)


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether something is at a path, links followed; False where that may not be known."""
    return os.access(path, os.F_OK)  # pathlib raises for a folder that may not be searched


def parse_source(path: Path) -> ast.Module | None:
    """Return the syntax tree of a source file; None where it cannot be read."""
    try:
        return ast.parse(read_plain_file(path, MAX_SOURCE_BYTES))
    except (OSError, *_BROKEN):
        return None


def called_name(call: ast.Call) -> str:
    """Return the name of the function that is called; empty where it is computed."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def literal(node: ast.expr | None) -> Any:
    """Return the value of a literal; None for anything else."""
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except _BROKEN:
        return None
