"""``%fooocus help``, and what ``--help`` and ``%fooocus VERB?`` show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from fooocus_nb._html import data_table, escape, wrap
from fooocus_nb.errors import nearest
from fooocus_nb.magics import verbs
from fooocus_nb.magics.verb import GeneratingVerb, Parser, Verb
from fooocus_nb.widgets.display_backends import show

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session

USAGE = "%fooocus PROMPT, or %%fooocus [options] with the prompt as the cell's body, generates."
HINT = "%fooocus VERB --help shows the options of a verb."
MORE = (
    "Every other parameter of the engine is an option, too, such as --guidance-scale 7: "
    "%fooocus params lists them."
)
EXPANDED = (
    "In options, {name} and $name stand for the value of a variable; in a prompt they stay as "
    "they are."
)


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("word", nargs="?", default="", metavar="VERB", help="of which verb")


def run(session: Session, options: Namespace) -> None:
    """Show all verbs, or the options of one."""
    show(help_bundle(options.word))


def help_bundle(name: str = "") -> dict[str, Any]:
    """Return the help for a verb, or for all, as a MIME bundle."""
    html = wrap(*_html_parts(name), label=f"Help for %fooocus {name}".strip())
    return {"text/html": html, "text/plain": help_text(name)}


def help_text(name: str = "") -> str:
    """Return the help for a verb, or for all."""
    top, tables, notes = _contents(name)
    parts = [top]
    for title, rows in tables:
        width = max(len(written) for written, _ in rows)
        lines = "\n".join(f"  {written:<{width}}  {text}" for written, text in rows)
        parts.append(f"{title}:\n{lines}")
    return "\n\n".join([*parts, *notes])


def _html_parts(name: str) -> list[str]:
    top, tables, notes = _contents(name)
    parts = [f'<div style="margin-bottom:10px">{escape(top)}</div>']
    for title, rows in tables:
        parts.append(data_table(("", ""), rows, title=title))
        parts.append('<div style="height:12px"></div>')
    return [*parts, *(f"<div>{escape(note)}</div>" for note in notes)]


def _contents(name: str) -> tuple[str, list[tuple[str, list[tuple[str, str]]]], list[str]]:
    """Return what stands on top, the tables with their titles, and the notes below."""
    if not name:
        rows = [(f"%fooocus {verb}", verbs.verb(verb).help) for verb in verbs.names()]
        options = verbs.parser("generate").rows()
        return (
            USAGE,
            [("Verbs of %fooocus", rows), ("Options of a generation", options)],
            [HINT, MORE, EXPANDED],
        )
    if name not in verbs.names():
        msg = f"%fooocus help: there is no verb {name!r}.{nearest(name, verbs.names())}"
        raise UsageError(msg)
    notes = [MORE, EXPANDED] if isinstance(verbs.verb(name), GeneratingVerb) else [EXPANDED]
    top = f"%fooocus {name}: {verbs.verb(name).help}"
    return top, [("Options", verbs.parser(name).rows())], notes


VERB = Verb("show this, or the options of one verb: [VERB]", run, add_options)
