"""Turns the magics of a notebook's cell into awaited calls.

While a cell awaits, ipykernel 7 delivers the messages of widgets, so that Stop and Skip work
in the middle of a generation; while it runs synchronous code, no kernel does.
"""

from __future__ import annotations

import ast
import contextlib
import re
import tokenize
from typing import TYPE_CHECKING

from IPython.core.inputtransformer2 import EscapedCommand, MagicAssign, TokenTransformBase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from tokenize import TokenInfo

    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["AwaitingTransformer", "MagicLine", "refuse_what_is_above", "rewrite"]

_INSTANCE = "get_ipython().magics_manager.registry['FooocusMagics']"


class AwaitingTransformer:
    """An input transformer that comes after IPython's own ones."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._depth = 0

    def register(self) -> None:
        """Begin to transform the cells that come after this one."""
        shell = self._shell
        shell.input_transformer_manager.cleanup_transforms.append(refuse_what_is_above)
        shell.input_transformers_post.append(self)
        shell.input_transformer_manager.token_transformers.append(MagicLine)
        shell.events.register("pre_execute", self._cell_begins)
        shell.events.register("post_execute", self._cell_ends)
        # This cell's own end is about to be counted, but its beginning was not.
        self._depth = 1

    def unregister(self) -> None:
        """Leave the cells as they are."""
        shell = self._shell
        shell.input_transformer_manager.cleanup_transforms.remove(refuse_what_is_above)
        shell.input_transformers_post.remove(self)
        shell.input_transformer_manager.token_transformers.remove(MagicLine)
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


def refuse_what_is_above(lines: list[str]) -> list[str]:
    """Turn a cell whose ``%%fooocus`` is not its first line into an error that says why."""
    if lines and lines[0].startswith("%%"):
        return lines  # the body of a cell magic is text
    for number, line in enumerate(lines):
        if line.split()[:1] == ["%%fooocus"] and _ends_in_no_string(lines[:number], line):
            return [f"{_INSTANCE}.refuse_what_is_above()\n"]
    return lines


def _ends_in_no_string(lines: list[str], last: str) -> bool:
    """Whether a statement may follow lines, indented as the last line is or not at all."""
    python = "".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines)
    indent = last[: len(last) - len(last.lstrip())]
    for statement in ("pass\n", f"{indent}pass\n"):
        with contextlib.suppress(SyntaxError, ValueError):
            ast.parse(python + statement)
            return True
    return False


def rewrite(lines: list[str], *, awaited: bool) -> list[str]:
    """Turn statements that are our magic, or assign its value, into calls of ours."""
    if not any("'fooocus'" in line for line in lines):
        return lines
    source = "".join(lines)
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):
        return lines
    pieces = source.encode().splitlines(keepends=True)
    for statement, in_function in reversed(list(_walk(statements))):
        if not isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign)):
            continue
        call, is_value = statement.value, not isinstance(statement, ast.Expr)
        if call is None or call.lineno != call.end_lineno:
            continue
        arguments, awaits = _arguments(call), awaited and not in_function
        if arguments is None or not (awaits or is_value):
            continue
        name = "await {}.run_awaited" if awaits else "{}.run"
        new = f"{name.format(_INSTANCE)}({', '.join(map(repr, arguments))}, value={is_value})"
        row = call.lineno - 1
        piece = pieces[row]
        pieces[row] = piece[: call.col_offset] + new.encode() + piece[call.end_col_offset :]
    return b"".join(pieces).decode().splitlines(keepends=True)


def _walk(
    nodes: Iterable[ast.AST], *, in_function: bool = False
) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield statements as they are written, blocks included, and whether a function holds each."""
    for node in nodes:
        if isinstance(node, ast.stmt):
            yield node, in_function
        inside = in_function or isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        )
        blocks = (ast.stmt, ast.excepthandler, ast.match_case)
        children = [child for child in ast.iter_child_nodes(node) if isinstance(child, blocks)]
        yield from _walk(children, in_function=inside)


def _arguments(node: ast.expr) -> list[str] | None:
    """Return the line, and the cell if there is one, where a node calls our magic."""
    match node:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Call(func=ast.Name(id="get_ipython")),
                attr="run_line_magic" | "run_cell_magic",
            ),
            args=[ast.Constant(value="fooocus"), *rest],
            keywords=[],
        ):
            values = [part.value for part in rest if isinstance(part, ast.Constant)]
            texts = [value for value in values if isinstance(value, str)]
            # What is no text was written by hand, and is left to run as it stands.
            return texts if texts and len(texts) == len(rest) else None
    return None


class MagicLine(TokenTransformBase):
    """A line of ours for IPython's transformers: what it ends in does not make it a call for help.

    IPython takes any line that ends in a question mark for one, before it looks at how the line
    begins. This comes first, and leaves only ``%fooocus?`` itself to that. Being asked for tokens,
    it never sees what stands inside a string.
    """

    priority = 4  # below that of help

    def __init__(self, start: tuple[int, int], magic: TokenTransformBase) -> None:
        super().__init__(start)  # type: ignore[no-untyped-call]
        self._magic = magic

    @classmethod
    def find(cls, tokens_by_line: list[list[TokenInfo]]) -> MagicLine | None:
        """Return the first line that is ours."""
        for tokens in tokens_by_line:
            magic = EscapedCommand.find([tokens]) or MagicAssign.find([tokens])
            if magic is None:
                continue
            place = (magic.start_line + 1, magic.start_col)
            words = [token.string for token in tokens if token.start >= place]
            if words[:2] == ["%", "fooocus"] and words[2:3] not in (["?"], ["??"]):
                return cls(_beginning(tokens), magic)
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Turn the line into a call, exactly as IPython does where no question mark ends it."""
        transformed: list[str] = self._magic.transform(lines)
        return transformed


def _beginning(tokens: list[TokenInfo]) -> tuple[int, int]:
    indents = (tokenize.INDENT, tokenize.DEDENT)
    return next(token.start for token in tokens if token.type not in indents)
