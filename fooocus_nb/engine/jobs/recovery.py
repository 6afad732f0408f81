"""Recovery: images that an engine finished after the connection broke, found in its outputs.

When the connection breaks in the middle of a generation, the engine goes on with it. Asking for
it again would make it twice, so nothing is sent: the engine's log, its log page and its folders
tell how it went on. An image is taken for this request's only if it was written after the
request began, with one of its seeds and its prompt.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.jobs.image_collector import name_key
from fooocus_nb.errors import ConnectionLost, EngineError, FooocusError, MetadataError
from fooocus_nb.fooocus.events import Event, Finished, ImageFinished, Progress
from fooocus_nb.fooocus.limits import MAX_FILE_BYTES
from fooocus_nb.fooocus.logs.diagnosis import diagnose
from fooocus_nb.fooocus.metadata import parse_log, read_metadata
from fooocus_nb.fooocus.outputs import WAITING_FOR_WORKER
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.schema.parameters import MAX_SEED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping

    from fooocus_nb.engine.jobs.context import JobContext
    from fooocus_nb.engine.jobs.control import Control
    from fooocus_nb.engine.jobs.image_collector import ImageCollector
    from fooocus_nb.engine.jobs.job_log import JobLog
    from fooocus_nb.engine.jobs.stream import EventStream, Snapshot
    from fooocus_nb.fooocus.requests import Request

__all__ = ["Recovery", "is_of_request"]

#: How often to look for more.
POLL_SECONDS = 1.0
#: Dates of HTTP are whole seconds.
CLOCK_SECONDS = 2.0
#: How late the line in the log may be that tells when an engine of ours began.
LAG_SECONDS = 0.5
#: How long somebody else's server may be out of reach before we give it up.
GONE_SECONDS = 15.0
#: How long a stopped generation may take to end the step that it is in.
STOP_SECONDS = 10.0
#: How long to wait for a sign, at least: where the worker never got the request, none will come.
MIN_SILENCE = 60.0
#: How long it may take to copy what was announced, when nothing more can be learnt.
ANNOUNCED_SECONDS = 10.0

_LOGGED = re.compile(r"Image generated with private log at: (.+log\.html)\s*$")
_SAVED = re.compile(r"\[Fooocus\] Saving image \d+/\d+")
_END = re.compile(r"^(?:Total time|Processing time \(total\)): ")
_STEP = re.compile(r"^\[Fooocus\] (.+)")
_IMAGES = {".jpeg", ".jpg", ".png", ".webp"}
#: What the engine replaces in a prompt: wildcards, arrays and LoRAs.
_REPLACED = re.compile(r"__|\[\[|<lora:")


@dataclass(frozen=True)
class _Found:
    """An image in the engine's outputs that is this request's."""

    path: str
    number: int


def is_of_request(request: Request, raw: Mapping[str, Any]) -> int | None:
    """Return which image of a request, from 0, has this metadata; None for that of another.

    `raw` has Fooocus's own keys. Where all images have one seed, each is 0.
    """
    with contextlib.suppress(ValueError):
        number = (int(str(raw.get("seed", ""))) - request.seed) % (MAX_SEED + 1)
        fits = number < (1 if request.seed_of(1) == request.seed else _count(request))
        if fits and all(_same_text(request, raw, name) for name in ("prompt", "negative_prompt")):
            return number
    return None


def _same_text(request: Request, raw: Mapping[str, Any], name: str) -> bool:
    if raw.get(name) is None:
        return True
    said = _split_prompt(str(raw[name]))
    return any(
        _REPLACED.search(asked) or _split_prompt(asked) == said for asked in _texts(request, name)
    )


def _texts(request: Request, name: str) -> Iterator[str]:
    """Yield what the engine may note as the prompt, positive or negative, of a request's images."""
    values = request.values
    asked = str(values.get(name) or "")
    yield asked
    if name == "prompt" and (more := values.get("inpaint_additional_prompt")):
        yield f"{more}\n{asked}"
    if values.get("enhance_checkbox"):
        for slot in itertools.count(1):
            if (enabled := values.get(f"enhance_{slot}_enabled")) is None:
                return
            if enabled and (own := values.get(f"enhance_{slot}_{name}")):
                yield str(own)


def _split_prompt(text: str) -> list[str]:
    """Split a prompt; the engine tidies the blanks and commas between them."""
    return re.sub(r"[\s,]+", " ", text).split()


def _count(request: Request) -> int:
    values = request.values
    if values.get("current_tab") == "enhance" and values.get("enhance_input_image"):
        return 1  # what is there is enhanced once
    return int(values.get("image_number") or 1)


def _age(path: Path) -> float:
    """Return how many seconds ago a file was written; for ever, where there is none."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return math.inf


class Recovery:
    """Follows one generation by what it leaves in the engine's log and outputs."""

    def __init__(
        self,
        request: Request,
        context: JobContext,
        *,
        stream: EventStream,
        lines: JobLog,
        collector: ImageCollector,
        control: Control,
        age: Callable[[], float],
        taken: Callable[[], Collection[str]],
    ) -> None:
        self._request = request
        self._context = context
        self._stream = stream
        self._lines = lines
        self._collector = collector
        self._control = control
        self._age = age
        self._taken = taken
        self._found: dict[str, _Found] = {}
        self._pages: dict[str, None] = {}
        self._linked = False
        self._reached = time.monotonic()

    # -- the whole way ------------------------------------------------------------------------

    async def events(self, error: ConnectionLost) -> AsyncGenerator[Event, None]:
        """Yield an `ImageFinished` for each image that is found, and `Finished` at the end.

        `error` is raised again, with what was copied, when nothing more can be learnt.
        """
        silence_limit = self._silence_limit(self._stream.snapshot(self._lines.last))
        moved = self._reached = time.monotonic()
        said = ""
        while True:
            whole = self._is_over()  # looked at first, so that the last image is not missed
            for found in await self._look():
                moved = time.monotonic()
                yield ImageFinished(found.path)
            if (text := self._description()) != said:
                said = text
                yield self._progress(text)
            if whole or self._is_all() or self._has_stopped(moved):
                break
            if self._is_hopeless(moved, silence_limit):
                if self._is_complete():
                    break
                raise await self._given_up(error)
            await asyncio.sleep(POLL_SECONDS)
        if not self._is_complete() and not self._control.used and not self._explained():
            raise await self._given_up(error)
        yield Finished(tuple(found.path for found in self._in_order()))

    async def look_once(self) -> list[str]:
        """Look once, and return the server's paths of the images that are not copied yet."""
        return [found.path for found in await self._look()]

    # -- looking ------------------------------------------------------------------------------

    async def _look(self) -> list[_Found]:
        """Return the images that were not seen before and are not copied."""
        await self._find_pages()
        new = []
        for page in self._pages:
            with contextlib.suppress(MetadataError, EngineError, OSError):  # half written, or gone
                async for found in self._in_page(page):
                    new.append(found)
        if not self._pages:
            new += await asyncio.to_thread(lambda: list(self._in_folder()))
        return new

    async def _find_pages(self) -> None:
        for line in self._lines:
            if (logged := _LOGGED.search(line)) is not None:
                self._pages[logged[1]] = None
        with contextlib.suppress(FooocusError):
            page = await self._context.client().log_page()
            self._reached = time.monotonic()
            self._linked = page is not None
            if page is not None:
                self._pages[page] = None

    async def _in_page(self, page: str) -> AsyncGenerator[_Found, None]:
        """Yield the new images of a log page, oldest first."""
        data = await self._read(page)
        entries = await asyncio.to_thread(parse_log, data, skip_damaged=True)
        kind = PureWindowsPath if "\\" in page else PurePosixPath
        for name, metadata in reversed(entries):
            number = is_of_request(self._request, metadata.raw)
            if number is None or name in self._found:
                continue
            path = str(kind(page).parent / name)
            found = _Found(path, self._numbered(number))
            if await self._is_new(name, path) and self._keep(found):
                yield found

    def _in_folder(self) -> Iterator[_Found]:
        """Yield the new images of an engine without a log page, which keeps them in its own folder.

        They may say nothing of themselves. But the engine makes one request at a time, and its log
        tells when it began with ours and how many images of it were saved.
        """
        folder = self._context.temp_dir()
        saved = sum(map(bool, map(_SAVED.match, self._request_log())))
        if folder is None or not saved:
            return
        ages = {path: _age(path) for path in folder.glob("*-*-*/*") if path.suffix in _IMAGES}
        young = [
            path
            for path, age in ages.items()
            if age < self._age_of_request() and not self._is_elsewhere(path.name)
        ]
        young.sort(key=lambda path: -ages[path])
        for number, path in enumerate(young[:saved]):
            if path.name in self._found:
                continue
            which: int | None = number
            with contextlib.suppress(MetadataError):
                which = is_of_request(self._request, read_metadata(path).raw)
            if which is not None and self._keep(found := _Found(str(path), which)):
                yield found

    def _keep(self, found: _Found) -> bool:
        """Remember an image, and return whether it still has to be copied."""
        name = Path(found.path.replace("\\", "/")).name
        self._found[name] = found
        self._collector.identify(name, found.number)
        return not self._collector.holds(name)

    def _numbered(self, number: int) -> int:
        """Return which image it is; where all have one seed, they are counted."""
        return len(self._found) if self._request.seed_of(1) == self._request.seed else number

    async def _read(self, page: str) -> bytes:
        if self._context.owned:
            return await asyncio.to_thread(read_plain_file, Path(page), MAX_FILE_BYTES)
        data = await self._context.client().fetch(page)
        self._reached = time.monotonic()
        return data

    async def _is_new(self, name: str, path: str) -> bool:
        """Whether an image was written after the request began, and for no other request."""
        if self._collector.holds(name):
            return True
        if self._is_elsewhere(name):
            return False
        if self._context.owned:
            return await asyncio.to_thread(_age, Path(path)) < self._age_of_request()
        age = await self._context.client().age(path)
        return age is not None and age < self._age_of_request()

    def _is_elsewhere(self, name: str) -> bool:
        """Whether an earlier request of ours has copied it."""
        taken = {name_key(other) for other in self._taken()}
        return name_key(name) in taken and not self._collector.holds(name)

    def _age_of_request(self) -> float:
        return self._age() + (LAG_SECONDS if self._context.owned else CLOCK_SECONDS)

    def _in_order(self) -> list[_Found]:
        return sorted(self._found.values(), key=lambda found: found.number)

    # -- the end ------------------------------------------------------------------------------

    def _is_all(self) -> bool:
        """Whether no more images can come."""
        # Each image may be followed by any number of enhancements, all of one seed.
        return not self._request.values.get("enhance_checkbox") and self._is_complete()

    def _is_complete(self) -> bool:
        return len({found.number for found in self._found.values()}) >= _count(self._request)

    def _is_over(self) -> bool:
        """Whether the log says that the engine has ended this very generation."""
        lines = self._request_log()
        return any(map(_END.match, lines)) or self._explained()

    def _explained(self) -> bool:
        """Whether the log tells why the generation ended before its end."""
        return self._context.owned and diagnose(self._request_log()) is not None

    def _request_log(self) -> list[str]:
        """Return the log of this request; nothing where the engine has not begun with it."""
        return list(self._lines) if self._lines.begun else []

    def _is_hopeless(self, moved: float, silence_limit: float) -> bool:
        """Whether nothing more can be learnt."""
        now = time.monotonic()
        if self._context.owned:
            # Once it works on the request, its silence is noticed as in any generation.
            return not self._request_log() and now - self._stream.last_movement > silence_limit
        gone = now - self._reached > GONE_SECONDS
        return not self._linked or gone or now - moved > silence_limit

    def _has_stopped(self, moved: float) -> bool:
        """Whether a stopped generation has had the time to end its step."""
        asked = self._control.stop_asked_at
        return asked is not None and time.monotonic() - max(moved, asked) > STOP_SECONDS

    def _silence_limit(self, seen: Snapshot) -> float:
        """Return how long to wait for a sign, by what was seen before the connection broke."""
        if seen.remaining is not None:
            return max(MIN_SILENCE, 3 * seen.remaining)
        # Before its worker has a request, it may never get it.
        begun = seen.text and not seen.text.startswith(WAITING_FOR_WORKER)
        return self._context.liveness.stall_timeout() if begun else MIN_SILENCE

    # -- telling ------------------------------------------------------------------------------

    def _description(self) -> str:
        done = f"{len(self._found)} of {_count(self._request)} images found"
        doing = [step[1] for line in self._request_log() if (step := _STEP.match(line))]
        return f"Connection lost, {done}" + (f": {doing[-1]}" if doing else " so far")

    def _progress(self, text: str) -> Progress:
        share = 100 * len(self._found) // max(1, _count(self._request))
        return Progress(max(self._stream.now.percent, min(share, 99)), text)

    async def _given_up(self, error: ConnectionLost) -> ConnectionLost:
        # What was announced may have been on its way when the connection broke.
        with contextlib.suppress(FooocusError, TimeoutError):
            async with asyncio.timeout(ANNOUNCED_SECONDS):
                await self._collector.take_all()
        done, asked = len(self._collector.paths), _count(self._request)
        msg = (
            f"The connection to engine {self._context.name!r} broke in the middle of a generation, "
            f"and {done} of {asked} images could be copied. {error.message}"
        )
        lost = ConnectionLost(
            msg,
            log=tuple(self._lines)[-5:],
            remedy="It was not sent again, so that nothing is made twice: what the engine still "
            "makes of it goes to its own output folder.",
        )
        lost.handed_in = True
        return lost
