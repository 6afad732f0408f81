"""Check a generation without sending it, and send what has been checked without warnings.

For who makes many generations, such as a sweep: it checks all of them first, and shows what has no
effect once.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.fooocus.requests import Request

__all__ = ["check_request", "register", "submit_request"]


@dataclass(frozen=True)
class _Entrance:
    """The two steps of a submission, as methods of an engine."""

    check: weakref.WeakMethod[Callable[[str, Mapping[str, Any]], Request]]
    send: weakref.WeakMethod[Callable[[Request], Job]]


#: Weak, also for the methods: nobody who could submit keeps an engine alive.
_entrances: weakref.WeakKeyDictionary[object, _Entrance] = weakref.WeakKeyDictionary()


def register(
    engine: object,
    check: Callable[[str, Mapping[str, Any]], Request],
    send: Callable[[Request], Job],
) -> None:
    """Let the functions below find the two steps of an engine's submission."""
    _entrances[engine] = _Entrance(weakref.WeakMethod(check), weakref.WeakMethod(send))


def check_request(engine: object, prompt: str, parameters: Mapping[str, Any]) -> Request:
    """Check what would be generated, as :meth:`Engine.submit` does, and send nothing."""
    check = _entrance(engine).check()
    if check is None:
        raise _no_engine(engine)
    return check(prompt, parameters)


def submit_request(engine: object, request: Request) -> Job:
    """Submit what has been checked; what it warns of is the caller's to show."""
    send = _entrance(engine).send()
    if send is None:
        raise _no_engine(engine)
    return send(request)


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
