"""Stop, restart and skip, given from outside of the kernel. They wait, so each is on a thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fooocus_nb.errors import EngineError, FooocusError, LoginError
from fooocus_nb.fooocus.checkout.login_file import logins_of
from fooocus_nb.fooocus.client import Client

if TYPE_CHECKING:
    from fooocus_nb.engine.jobs.records import JobRecord
    from fooocus_nb.engine.listing import Listed

__all__ = ["NotPossibleError", "command_generation", "restart", "stop"]

#: How long a server may take for its description and a command, together.
DIRECT_TIMEOUT = 20.0


class NotPossibleError(EngineError):
    """An engine's state does not allow what was asked for."""


def stop(listed: Listed) -> None:
    """End an engine, whoever uses it."""
    info = listed.info
    info.stop()
    if info.runs():
        msg = f"Engine {info.name!r} does not end: its process {info.pid} hangs in the system."
        raise NotPossibleError(msg)


def restart(listed: Listed) -> None:
    """Ask the kernel that has used an engine for longest to restart it."""
    info, entry = listed.info, listed.entry
    _require_here(listed)
    told = entry.request("restart", one=True)
    if told is None:
        msg = f"The guardian of engine {info.name!r} does not answer."
        raise NotPossibleError(msg, remedy="Stop the engine, and start it in its notebook.")
    if not told:
        msg = f"No kernel uses engine {info.name!r}, so none can restart it."
        raise NotPossibleError(msg, remedy="Stop it; the next start in a notebook makes a new one.")


def command_generation(listed: Listed, verb: str, session: str | None) -> str:
    """Stop a generation, or skip its current image; return its session.

    `session` is the generation that is meant; by default the one that runs.
    """
    info, entry = listed.info, listed.entry
    _require_here(listed)
    record = listed.generation
    if session is not None:
        record = next((each for each in listed.records if each.session_hash == session), None)
    if record is None:
        if session is not None:
            raise _has_ended(listed)
        msg = f"Engine {info.name!r} generates nothing."
        raise NotPossibleError(msg)
    told = entry.request(verb, record.session_hash)
    if told is None:
        msg = f"The guardian of engine {info.name!r} does not answer."
        raise NotPossibleError(msg)
    # A kernel that has attached to the engine may not have found the generation.
    if not told or (record.orphaned and verb == "stop"):
        _command_directly(listed, verb, record)
    return record.session_hash


def _require_here(listed: Listed) -> None:
    if listed.entry.elsewhere is not None:
        msg = f"Engine {listed.info.name!r} was started {listed.entry.elsewhere}."
        raise NotPossibleError(msg, remedy="Use the Jupyter server there.")


def _has_ended(listed: Listed) -> NotPossibleError:
    return NotPossibleError(f"Engine {listed.info.name!r} has ended that generation.")


def _command_directly(listed: Listed, verb: str, record: JobRecord) -> None:
    """Give the engine's web server a command for a generation that no kernel looks after."""
    cwd = listed.entry.cwd
    logins = logins_of(cwd) if cwd is not None else []

    async def command() -> None:
        async with asyncio.timeout(DIRECT_TIMEOUT):
            async with await Client.connect(listed.info.url, logins=logins) as client:
                await (client.stop if verb == "stop" else client.skip)(record.session_hash)

    try:
        asyncio.run(command())
    except LoginError as error:
        msg = f"Engine {listed.info.name!r} wants a login that only its notebooks know."
        raise NotPossibleError(msg) from error
    except (FooocusError, TimeoutError) as error:
        # Somebody else may have ended it at this moment, with its engine: then nothing is wrong.
        if not record.path.exists():
            if verb == "stop":
                return
            raise _has_ended(listed) from error
        msg = f"Engine {listed.info.name!r} did not take the {verb}: {error}"
        raise NotPossibleError(msg) from error
