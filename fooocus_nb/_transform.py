"""Turns the magics of a notebook's cell into awaited calls.

While a cell awaits, ipykernel 7 delivers the messages of widgets, so that Stop and Skip work
in the middle of a generation; while it runs synchronous code, no kernel does.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["AwaitingTransformer", "rewrite"]

_INSTANCE = "get_ipython().magics_manager.registry['FooocusMagics']"
_QUESTION = re.compile(r"%fooocus[ \t]+(\S.*\?)[ \t]*")


class AwaitingTransformer:
    """An input transformer that comes after IPython's own ones.

    Parameters
    ----------
    shell : InteractiveShell
        The shell to register with.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._depth = 0

    def register(self) -> None:
        """Begin to transform the cells that come after this one."""
        shell = self._shell
        shell.input_transformers_post.append(self)
        shell.input_transformers_cleanup.append(protect_question)
        shell.events.register("pre_execute", self._cell_begins)
        shell.events.register("post_execute", self._cell_ends)
        # This cell's own end is about to be counted, but its beginning was not.
        self._depth = 1

    def unregister(self) -> None:
        """Leave the cells as they are."""
        shell = self._shell
        shell.input_transformers_post.remove(self)
        shell.input_transformers_cleanup.remove(protect_question)
        shell.events.unregister("pre_execute", self._cell_begins)
        shell.events.unregister("post_execute", self._cell_ends)

    def _cell_begins(self) -> None:
        self._depth += 1

    def _cell_ends(self) -> None:
        self._depth = max(self._depth - 1, 0)

    def __call__(self, lines: list[str]) -> list[str]:
        """Transform the lines of a cell."""
        return rewrite(lines, awaited=self._may_await())

    def _may_await(self) -> bool:
        """Whether the cell that comes may await.

        Only a kernel has a running event loop. What is transformed while a cell runs belongs to
        ``%%time``, ``%%capture`` and the like, which cannot await.
        """
        shell = self._shell
        in_kernel = getattr(shell, "kernel", None) is not None
        return in_kernel and bool(shell.autoawait) and self._depth == 0


def rewrite(lines: list[str], *, awaited: bool) -> list[str]:
    """Turn statements that are our magic, or assign its value, into calls of ours.

    Parameters
    ----------
    lines : list of str
        Python code, as IPython's transformers have left it.
    awaited : bool
        Whether the calls may be awaited.

    Returns
    -------
    list of str
        The code, with only those calls changed.
    """
    if not any("'fooocus'" in line for line in lines):
        return lines
    source = "".join(lines)
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):
        return lines
    pieces = source.encode().splitlines(keepends=True)
    for statement in reversed(statements):
        if not isinstance(statement, (ast.Expr, ast.Assign)):
            continue
        call, is_value = statement.value, isinstance(statement, ast.Assign)
        arguments = _arguments(call)
        if arguments is None or call.lineno != call.end_lineno or not (awaited or is_value):
            continue
        name = "await {}.run_awaited" if awaited else "{}.run"
        new = f"{name.format(_INSTANCE)}({', '.join(map(repr, arguments))}, value={is_value})"
        row = call.lineno - 1
        piece = pieces[row]
        pieces[row] = piece[: call.col_offset] + new.encode() + piece[call.end_col_offset :]
    return b"".join(pieces).decode().splitlines(keepends=True)


def _arguments(node: ast.expr) -> list[str] | None:
    """Return the line, and the cell if there is one, where a node calls our magic."""
    match node:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Call(func=ast.Name(id="get_ipython")),
                attr="run_line_magic" | "run_cell_magic",
            ),
            args=[ast.Constant(value="fooocus"), *rest],
        ):
            values = [part.value for part in rest if isinstance(part, ast.Constant)]
            return [value for value in values if isinstance(value, str)]
    return None


def protect_question(lines: list[str]) -> list[str]:
    """Keep IPython from taking a prompt that ends in a question mark for a call for help.

    Parameters
    ----------
    lines : list of str
        A cell as it was written.

    Returns
    -------
    list of str
        The cell; only where its first line is such a prompt, that line is written out.
    """
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        if (match := _QUESTION.fullmatch(line.rstrip("\n"))) is not None:
            call = f"get_ipython().run_line_magic('fooocus', {match[1]!r})\n"
            return [*lines[:index], call, *lines[index + 1 :]]
        break
    return lines
