"""What a job gets of its engine: the parts it works with, and calls into the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from fooocus_nb.engine.facts import EngineFacts
    from fooocus_nb.engine.jobs.cell_requests import CellRequests
    from fooocus_nb.engine.jobs.records import JobRecords
    from fooocus_nb.engine.liveness import Liveness
    from fooocus_nb.engine.queue import JobQueue
    from fooocus_nb.fooocus.client import Client
    from fooocus_nb.results import Image, Result
    from fooocus_nb.results.file_names import ImageFacts
    from fooocus_nb.results.output_folder import OutputFolder

__all__ = ["JobContext", "Stoppable"]


class Stoppable(Protocol):
    """A job, as far as those know it who ask for its end from outside of the kernel."""

    def stop(self) -> None:
        """Stop it."""

    def skip(self) -> None:
        """Skip the image in the making."""


@dataclass(frozen=True)
class JobContext:
    """What a job needs of its engine."""

    name: str
    owned: bool
    #: Whether its log is known here.
    logged: bool
    #: Where images are copied to.
    outputs: OutputFolder
    queue: JobQueue
    liveness: Liveness
    records: JobRecords
    #: What the cells of this kernel have asked for.
    cell_requests: CellRequests
    #: Return the client of an engine that can generate, or raise why it cannot.
    client: Callable[[], Client]
    #: Copy an image of the server into the output folder; its bytes are first handed to the last.
    copy_image: Callable[[str, ImageFacts, Callable[[bytes], None]], Awaitable[Path]]
    #: Call a listener with each line of the engine's log; return what ends it.
    subscribe_log: Callable[[Callable[[str], None]], Callable[[], None]]
    #: Return the engine's own temporary folder, where it is of this machine.
    temp_dir: Callable[[], Path | None]
    #: Show images that have just been copied.
    add_images: Callable[[Iterable[Image]], None]
    #: Take the result at the end, also of a generation that failed.
    publish: Callable[[Result], None]
    #: Return what is known of the engine for a record.
    facts: Callable[[], EngineFacts]
    #: The jobs that the server knows, by their sessions.
    sessions: dict[str, Stoppable] = field(default_factory=dict)
