"""Check a generation without sending it, and send what has been checked without warnings.

For who makes many generations, such as a sweep: it checks all of them first, and shows what has no
effect once.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import (
    ConfigurationError,
    IgnoredParameter,
    IncompleteMetadata,
    warn_user,
)
from fooocus_nb.fooocus.requests import incomplete

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from fooocus_nb.engine.jobs.asked import Asked, AskedRecords
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.fooocus.requests import Request

__all__ = [
    "ask_ahead",
    "check_request",
    "records_of",
    "register",
    "resubmit",
    "show_warnings",
    "submit_asked",
    "submit_request",
]


@dataclass(frozen=True)
class _Entrance:
    """The two steps of a submission, as methods of an engine."""

    check: weakref.WeakMethod[Callable[[str, Mapping[str, Any]], Request]]
    send: weakref.WeakMethod[Callable[..., Job]]
    asked: AskedRecords
    output_dir: Path


#: Weak, also for the methods: nobody who could submit keeps an engine alive.
_entrances: weakref.WeakKeyDictionary[object, _Entrance] = weakref.WeakKeyDictionary()


def register(
    engine: object,
    check: Callable[[str, Mapping[str, Any]], Request],
    send: Callable[..., Job],
    asked: AskedRecords,
    output_dir: Path,
) -> None:
    """Let the functions below find the two steps of an engine's submission."""
    _entrances[engine] = _Entrance(
        weakref.WeakMethod(check), weakref.WeakMethod(send), asked, output_dir
    )


def check_request(engine: object, prompt: str, parameters: Mapping[str, Any]) -> Request:
    """Check what would be generated, as :meth:`Engine.submit` does, and send nothing."""
    check = _entrance(engine).check()
    if check is None:
        raise _no_engine(engine)
    return check(prompt, parameters)


def submit_request(engine: object, request: Request) -> Job:
    """Submit what has been checked; what it warns of is the caller's to show."""
    return _send(engine, request)


def ask_ahead(engine: object, requests: Iterable[Request]) -> list[str]:
    """Write down all that a cell is about to submit one by one; return the session of each.

    What is left when the kernel is killed can be resumed then.
    """
    entrance = _entrance(engine)
    return [entrance.asked.ask(request, entrance.output_dir) for request in requests]


def submit_asked(engine: object, request: Request, session: str) -> Job:
    """Submit one of those that were written down ahead, and show what has no effect in it."""
    show_warnings(request)
    return _send(engine, request, session)


def resubmit(engine: object, asked: Asked) -> Job:
    """Submit what an earlier kernel had written down, and the engine has never begun with."""
    if asked.request is None:
        msg = f"{asked.session} is no generation"
        raise ValueError(msg)
    _entrance(engine).asked.resume(asked)
    return _send(engine, asked.request, asked.session)


def records_of(engine: object) -> AskedRecords:
    """Return who writes down what the cells of this kernel ask an engine for."""
    return _entrance(engine).asked


def _send(engine: object, request: Request, session: str = "") -> Job:
    send = _entrance(engine).send()
    if send is None:
        raise _no_engine(engine)
    return send(request, session)


def show_warnings(request: Request) -> None:
    """Warn of what was given and has no effect, and of what nobody has given."""
    for text in request.warnings:
        warn_user(text, IgnoredParameter)
    if request.missing:
        warn_user(incomplete(request.missing), IncompleteMetadata)


def _entrance(engine: object) -> _Entrance:
    try:
        found = _entrances.get(engine)
    except TypeError:  # what cannot be referred to weakly, such as a text
        found = None
    if found is None:
        raise _no_engine(engine)
    return found


def _no_engine(thing: object) -> ConfigurationError:
    msg = f"A {type(thing).__name__} is no engine of this kernel: give one of start() or connect()."
    return ConfigurationError(msg)
