"""``%fooocus`` and ``%%fooocus``: thin, and nothing that they use is loaded before they are."""

from __future__ import annotations

import contextlib
import dis
import inspect
from typing import TYPE_CHECKING

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from fooocus_nb.errors import FooocusError, show_plainly

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FooocusMagics"]


@magics_class
class FooocusMagics(Magics):
    """The magics."""

    @no_var_expand
    @line_cell_magic
    def fooocus(self, line: str, cell: str | None = None) -> object:
        """Generate images with Fooocus, and look after its engine.

        ``%fooocus a lighthouse at dusk`` generates; ``%%fooocus [options]`` takes the cell as the
        prompt. ``%fooocus help`` lists the verbs and options.
        """
        # A cell that loads the extension was turned into Python before we could do so.
        assigned = self.shell is not None and _is_assigned(self.shell.user_ns)
        return self.run(line, cell, value=assigned)

    def run(self, line: str, cell: str | None = None, *, value: bool = False) -> object:
        """Do what a line or a cell says, and block until it is done.

        `value` tells whether somebody wants the result: it shows itself where the monitor was, so
        a statement has none, or it would show twice.
        """
        from fooocus_nb.magics import dispatch

        with _plain_errors():
            return dispatch.run(self.shell, line, cell, value=value)

    async def run_awaited(
        self, line: str, cell: str | None = None, *, value: bool = False
    ) -> object:
        """Do the same as :meth:`run`, with the kernel listening while a generation runs."""
        from fooocus_nb.magics import dispatch

        with _plain_errors():
            return await dispatch.run_awaited(self.shell, line, cell, value=value)

    def refuse_what_is_above(self) -> None:
        """Say why a cell whose ``%%fooocus`` stands below or right of something cannot run."""
        from IPython.core.error import UsageError

        msg = (
            "%%fooocus must be the first line of its cell, with no blanks before it: IPython takes "
            "what stands below a comment or other lines for Python. Move them into a cell of their "
            "own, or remove them; in the cell's body they would be part of the prompt. Nothing of "
            "this cell was run."
        )
        raise UsageError(msg)


def _is_assigned(namespace: dict[str, object]) -> bool:
    """Whether the code of a namespace that has called this keeps the value under a name."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals is not namespace:
        frame = frame.f_back
    if frame is None:
        return False
    after = (one for one in dis.get_instructions(frame.f_code) if one.offset > frame.f_lasti)
    following = next(after, None)
    return following is not None and following.opname.startswith("STORE_")


def _help() -> str:
    from fooocus_nb.magics.verbs.help import help_text

    return help_text()


# IPython asks an object for its own documentation: `%fooocus?` shows the verbs that there are.
FooocusMagics.fooocus.getdoc = _help  # type: ignore[union-attr]


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Let our exceptions through, marked to be shown without stack frames."""
    try:
        yield
    except (FooocusError, KeyboardInterrupt) as error:
        show_plainly(error)
        raise
