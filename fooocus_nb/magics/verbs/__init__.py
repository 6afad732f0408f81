"""The verbs of ``%fooocus``: one module each, which is called as the verb and holds ``VERB``.

To add one, add a module: nothing else lists them. A module is imported when its verb is used.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from fooocus_nb.magics.verb import GeneratingVerb, Parser, Verb, parser_of

__all__ = ["is_generating", "names", "options_of", "parser", "takes_image", "verb"]


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all verbs, without importing any."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def verb(name: str) -> Verb | GeneratingVerb:
    """Return a verb of that name; its module is imported when it is first asked for."""
    found: Verb | GeneratingVerb = importlib.import_module(f"{__name__}.{name}").VERB
    return found


def is_generating(name: str) -> bool:
    """Whether a verb of that name generates images."""
    return name in names() and isinstance(verb(name), GeneratingVerb)


def takes_image(name: str) -> bool:
    """Whether a verb of that name generates images from one, which comes first in its line."""
    found = verb(name) if name in names() else None
    return isinstance(found, GeneratingVerb) and found.task is not None


def parser(name: str) -> Parser:
    """Return the parser for what follows a verb."""
    return parser_of(name, verb(name))


def options_of(name: str) -> dict[str, bool]:
    """Return the options behind a verb, and whether each takes a value."""
    return parser(name).options
