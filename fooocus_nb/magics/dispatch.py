"""Read a line or a cell of ``%fooocus``, and hand it to its verb."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from fooocus_nb.magics import verbs
from fooocus_nb.magics.parsing import GenerateOptions, parse
from fooocus_nb.magics.session import Session
from fooocus_nb.magics.verb import Verb

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from fooocus_nb.magics.parsing import VerbOptions

__all__ = ["run", "run_awaited"]


def run(
    shell: InteractiveShell | None, line: str, cell: str | None = None, *, value: bool = False
) -> object:
    """Do what a line or a cell says, and block until it is done."""
    session = Session(shell)
    parsed = parse(line, cell, session.variables)
    if not isinstance(parsed, GenerateOptions):
        return _run_verb(session, parsed)
    from fooocus_nb.magics.generation import generate

    result = generate(session, parsed)
    return result if value else None


async def run_awaited(
    shell: InteractiveShell | None, line: str, cell: str | None = None, *, value: bool = False
) -> object:
    """Do the same, and await what generates."""
    session = Session(shell)
    parsed = parse(line, cell, session.variables)
    if not isinstance(parsed, GenerateOptions):
        done = _run_verb(session, parsed, awaited=True)
        return await done if inspect.isawaitable(done) else done
    from fooocus_nb.magics.generation import agenerate

    result = await agenerate(session, parsed)
    return result if value else None


def _run_verb(session: Session, parsed: VerbOptions, *, awaited: bool = False) -> object:
    verb = verbs.verb(parsed.verb)
    if not isinstance(verb, Verb):
        raise TypeError(parsed.verb)
    if awaited and verb.arun is not None:
        return verb.arun(session, parsed.options)
    return verb.run(session, parsed.options)
