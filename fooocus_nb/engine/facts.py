"""What is known of an engine for a record of how its images were made."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fooocus_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["EngineFacts", "facts_of", "not_an_engine", "register"]


@dataclass(frozen=True)
class EngineFacts:
    """An engine at one moment, as a record of its images names it."""

    name: str
    #: Whether we started it; of others neither the checkout nor the log is known.
    owned: bool
    demo: bool
    #: The version of Fooocus, as its web page says.
    version: str
    url: str | None
    #: What it was started with, without what we add.
    flags: tuple[str, ...] = ()
    preset: str | None = None
    #: The folder of Fooocus, and the interpreter that it runs in.
    checkout: Path | None = None
    python: Path | None = None
    log_path: Path | None = None
    #: Tells one start of the engine from the next.
    pid: int | None = None


#: Weak, also for the methods: a record of facts must not keep an engine alive.
_sources: weakref.WeakKeyDictionary[object, weakref.WeakMethod[Callable[[], EngineFacts]]] = (
    weakref.WeakKeyDictionary()
)


def register(engine: object, facts: Callable[[], EngineFacts]) -> None:
    """Let :func:`facts_of` find what is known of an engine; `facts` is a method of it."""
    _sources[engine] = weakref.WeakMethod(facts)


def facts_of(engine: object) -> EngineFacts:
    """Return what is known of an engine now.

    Raises a ConfigurationError for anything else, and what the engine raises where it does not run.
    """
    try:
        source = _sources.get(engine)
    except TypeError:  # what nothing can refer to weakly, such as a text
        source = None
    facts = source() if source is not None else None
    if facts is None:
        raise not_an_engine(engine)
    return facts()


def not_an_engine(thing: object) -> ConfigurationError:
    """Return the error for anything else that was given as an engine."""
    kind = type(thing).__name__
    return ConfigurationError(
        f"A {kind} is no engine of this kernel: give one of start() or connect()."
    )
