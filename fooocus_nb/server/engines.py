"""``/engines``: the engines of this user, one of them, and what can be done with it."""

from __future__ import annotations

import asyncio

from jupyter_server.auth.decorator import authorized
from tornado import web

from fooocus_nb.engine.health import gpus
from fooocus_nb.engine.jobs.records import SESSION
from fooocus_nb.engine.listing import Asleep
from fooocus_nb.server.base import CommandHandler, Handler, RefusedError
from fooocus_nb.server.commands import command_generation, restart, stop
from fooocus_nb.server.directory import describe_asleep

__all__ = [
    "EngineHandler",
    "EnginesHandler",
    "GenerationHandler",
    "RestartHandler",
    "StopHandler",
]


class EnginesHandler(Handler):
    """All engines of this user on this machine."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """List them, oldest first, then those that sleep, with the machine's graphics cards."""
        found = await self.services.directory.engines()
        told = await asyncio.gather(*map(self.services.directory.describe, found))
        sleeping = map(describe_asleep, await self.services.directory.asleep())
        cards = await self.run(gpus)
        memory = [
            {"index": card.index, "name": card.name, "used": card.used, "total": card.total}
            for card in cards
        ]
        await self.finish({"engines": [*told, *sleeping], "gpus": memory})


class EngineHandler(Handler):
    """One engine."""

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """Tell of it, also whether its web server answers."""
        found = await self.find(name)
        if isinstance(found, Asleep):
            await self.finish(describe_asleep(found))
            return
        # What was found a moment ago may not have it yet: then its web server is not asked.
        asked = await self.services.directory.engines()
        # By its run: engines of two containers may have one process id.
        same = (listed for listed in asked if listed.entry.run_dir == found.entry.run_dir)
        await self.finish(await self.services.directory.describe(next(same, found)))


class StopHandler(CommandHandler):
    """The end of an engine."""

    @web.authenticated
    @authorized
    async def post(self, name: str) -> None:
        """End it, whoever uses it, and wait until it is gone."""
        self.body()
        listed = await self.engine(name)
        try:
            await self.command(stop, listed)
        finally:
            self.services.directory.forget()
        await self.finish({"id": listed.entry.run_dir.name, "state": "stopped"})


class RestartHandler(CommandHandler):
    """The restart of an engine by its kernel, which knows how it was started."""

    @web.authenticated
    @authorized
    async def post(self, name: str) -> None:
        """Ask for it; the state tells how it goes on."""
        self.body()
        listed = await self.engine(name)
        await self.run(restart, listed)
        self.set_status(202)
        await self.finish({"id": listed.entry.run_dir.name, "state": "stopping"})


class GenerationHandler(CommandHandler):
    """Stop and skip for the generation that runs, also while its kernel is busy."""

    @web.authenticated
    @authorized
    async def post(self, name: str, verb: str) -> None:
        """Give the command."""
        session = self.body(("session",)).get("session")
        if session is not None and not SESSION.fullmatch(session):
            raise RefusedError(400, f"session={session[:50]!r} is no session.")
        listed = await self.engine(name)
        meant = await self.command(command_generation, listed, verb, session)
        self.set_status(202)
        await self.finish({"session": meant})
