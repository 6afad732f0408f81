"""Check a generation without sending it, and send what has been checked without warnings.

For who makes many generations, such as a sweep: it checks all of them first, and shows what has no
effect once.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.facts import not_an_engine
from fooocus_nb.errors import IgnoredParameter, IncompleteMetadata, warn_user
from fooocus_nb.fooocus.requests import incomplete

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from fooocus_nb.engine.jobs.cell_requests import CellRequest, CellRequests
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
class _Methods:
    """The methods of an engine that check and send a submission, and its records."""

    check: weakref.WeakMethod[Callable[[str, Mapping[str, Any]], Request]]
    send: weakref.WeakMethod[Callable[..., Job]]
    #: Weak, as it knows its engine.
    records: weakref.ref[CellRequests]
    output_dir: Path


#: Weak, also for the methods: nobody who could submit keeps an engine alive.
_methods: weakref.WeakKeyDictionary[object, _Methods] = weakref.WeakKeyDictionary()


def register(
    engine: object,
    check: Callable[[str, Mapping[str, Any]], Request],
    send: Callable[..., Job],
    records: CellRequests,
    output_dir: Path,
) -> None:
    """Let the functions below find the two steps of an engine's submission."""
    _methods[engine] = _Methods(
        weakref.WeakMethod(check), weakref.WeakMethod(send), weakref.ref(records), output_dir
    )


def check_request(engine: object, prompt: str, parameters: Mapping[str, Any]) -> Request:
    """Check what would be generated, as :meth:`Engine.submit` does, and send nothing."""
    check = _methods_of(engine).check()
    if check is None:
        raise not_an_engine(engine)
    return check(prompt, parameters)


def submit_request(engine: object, request: Request) -> Job:
    """Submit what has been checked; what it warns of is the caller's to show."""
    return _send(engine, request)


def ask_ahead(engine: object, requests: Iterable[Request]) -> list[str]:
    """Write down all that a cell is about to submit one by one; return the session hash of each.

    What is left when the kernel is killed can be resumed then.
    """
    records, output_dir = records_of(engine), _methods_of(engine).output_dir
    return [records.ask(request, output_dir) for request in requests]


def submit_asked(engine: object, request: Request, session_hash: str) -> Job:
    """Submit one of those that were written down ahead, and show what has no effect in it."""
    show_warnings(request)
    return _send(engine, request, session_hash)


def resubmit(engine: object, requested: CellRequest) -> Job | None:
    """Submit what an earlier kernel had written down, and the engine has never begun with.

    None where it began with images that have not been kept.
    """
    if requested.request is None:
        msg = f"{requested.session_hash} is no generation"
        raise ValueError(msg)
    request = requested.whole_request
    if request is None:
        return None
    records_of(engine).resume(requested)
    return _send(engine, request, requested.session_hash)


def records_of(engine: object) -> CellRequests:
    """Return who writes down what the cells of this kernel ask an engine for."""
    records = _methods_of(engine).records()
    if records is None:
        raise not_an_engine(engine)
    return records


def _send(engine: object, request: Request, session_hash: str = "") -> Job:
    send = _methods_of(engine).send()
    if send is None:
        raise not_an_engine(engine)
    return send(request, session_hash)


def show_warnings(request: Request) -> None:
    """Warn of what was given and has no effect, and of what nobody has given."""
    for text in request.warnings:
        warn_user(text, IgnoredParameter)
    if request.missing:
        warn_user(incomplete(request.missing), IncompleteMetadata)


def _methods_of(engine: object) -> _Methods:
    try:
        found = _methods.get(engine)
    except TypeError:  # what cannot be referred to weakly, such as a text
        found = None
    if found is None:
        raise not_an_engine(engine)
    return found
