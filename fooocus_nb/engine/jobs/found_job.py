"""A found job: a generation that an earlier kernel left running, followed by its log."""

from __future__ import annotations

import asyncio
import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.engine.jobs.job import Job, note_never_begun
from fooocus_nb.errors import ConnectionLost, FooocusError, GenerationStopped
from fooocus_nb.results.output_folder import OutputFolder
from fooocus_nb.supervisor import LineSplitter, LogReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fooocus_nb.engine.jobs.context import JobContext
    from fooocus_nb.engine.jobs.job import Engine
    from fooocus_nb.engine.jobs.records import JobRecord
    from fooocus_nb.results.file_names import ImageFacts

__all__ = ["FoundJob"]

#: What is looked through for the beginning of the generation; the newest that the engine keeps.
LOG_BYTES = 12 << 20
READ_BYTES = 1 << 20
#: How long the engine may be silent before it is clear that it never began with it.
BEGIN_SECONDS = 10.0
POLL_SECONDS = 0.1


class FoundJob(Job):
    """A generation whose kernel has ended, and which the engine went on with.

    The engine tells nobody about it any more, so its progress is read from its log, its log page
    and its folders: there are stages and finished images, and no previews. Nothing is sent, so
    nothing is made twice. It is stopped as any other job. Its images go to the folder where its own
    kernel wanted them, which is where its notebook looks for them.

    Parameters
    ----------
    engine : Engine
        Where it runs.
    record : JobRecord
        What its kernel has written down.
    context : JobContext
        What it needs of the engine.

    Attributes
    ----------
    started : float
        When it was submitted, in seconds since the epoch.
    """

    _earlier_kernels = True

    def __init__(self, engine: Engine, record: JobRecord, context: JobContext) -> None:
        self.started = record.started
        self._record = record
        self._outputs = OutputFolder(record.output_dir)
        context.cell_requests.adopt(record.session_hash)  # so that its end is noted there, too
        super().__init__(
            engine, record.request, context, session=record.session_hash, waited=self._age()
        )

    def _age(self) -> float:
        return time.time() - self.started

    def _taken(self) -> Collection[str]:
        # Not those of the engine: this kernel may have copied some of these very images before it
        # detached.
        return self._outputs.taken

    def _write_record(self) -> Callable[[Callable[[], None]], None]:
        return self._context.records.adopt(self._record.path)

    async def _command(self, verb: str) -> None:
        # It never waits for a turn of ours: what comes early is sent once we have caught up.
        await self._control.command(verb)

    async def _consume(self) -> None:
        self._started.set()
        await self._catch_up()
        await self._control.progress()  # from now on it can be stopped
        msg = "The kernel that it was for has ended."
        await self._follow(self._recovery.events(ConnectionLost(msg)))

    async def _catch_up(self) -> None:
        """Read the log up to now, and wait for the beginning where it has not come yet."""
        for text in await asyncio.to_thread(self._past):
            self._lines.feed(text)
        while not self._lines.begun:
            if time.monotonic() - self._stream.last_movement > BEGIN_SECONDS:
                # It waited for its turn, and the server forgets who does not wait with it.
                note_never_begun(self)
                msg = "The engine had not begun with the generation when its kernel ended."
                raise GenerationStopped(msg, remedy="Generate it again.")
            await asyncio.sleep(POLL_SECONDS)

    def _past(self) -> list[str]:
        """Return the engine's log, from far enough before the generation."""
        path = self.engine.log_path
        if path is None:
            return []
        reader = LogReader(path, begin=LOG_BYTES)
        try:
            parts = list(iter(lambda: reader.read(READ_BYTES), b""))
            if not any(self._beginning in part for part in parts):
                parts.insert(0, reader.earlier(LOG_BYTES))  # the file was changed meanwhile
        finally:
            reader.close()
        lines = LineSplitter().feed(b"".join(parts))
        return [line.text for line in lines if not line.transient]

    @property
    def _beginning(self) -> bytes:
        return f"[Parameters] Seed = {self.request.seed}".encode()

    async def _copy_image(self, server_path: str, facts: ImageFacts) -> Path:
        before = functools.partial(self._observers.image, server_path)
        try:
            return await asyncio.to_thread(self._outputs.copy, Path(server_path), None, before)
        except FooocusError:  # that folder is gone, or somebody else's
            return await super()._copy_image(server_path, facts)
