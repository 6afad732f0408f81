"""The images of one generation, copied to the output folder, each with its seed."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.jobs.unchanged import enhanced_image, shows_the_same
from fooocus_nb.errors import ConnectionLost, GenerationError
from fooocus_nb.results import Image
from fooocus_nb.results.file_names import ImageFacts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from fooocus_nb.fooocus.requests import Request

__all__ = ["CollectedFile", "ImageCollector", "name_key"]

#: How often an image is asked for, and the seconds between: a connection may break at any time.
FETCH_ATTEMPTS = 3
FETCH_PAUSE = 0.5
#: An image with its mask and five enhancements, each of them before and after, has fewer.
FILES_AN_IMAGE = 20
_SAVING = re.compile(r"Saving image (\d+)/\d+")


@dataclass(frozen=True)
class CollectedFile:
    """One image file of a generation."""

    #: In the output folder.
    path: Path
    #: Its path at the server.
    server_path: str
    #: Which image of the request it is, from 0.
    number: int


class ImageCollector:
    """Copies the images of one generation to the output folder, each once.

    `copy` copies an image of the server there, and returns where it is then. `final` is the
    server's own list of the images there are; None before the end. An image that was to be enhanced
    and that the server handed back as it is counts as none.
    """

    def __init__(
        self, request: Request, copy: Callable[[str, ImageFacts], Awaitable[Path]]
    ) -> None:
        self.final: tuple[str, ...] | None = None
        self._request = request
        self._parameters = request.record()
        self._copy = copy
        self._announced: dict[str, None] = {}
        self._copied: dict[str, Path] = {}
        self._given = enhanced_image(request)
        self._unchanged: set[str] = set()
        self._saved: list[int] = []
        self._known: dict[str, int] = {}

    @property
    def parameters(self) -> Mapping[str, Any]:
        """All that decides the outcome, by canonical name."""
        return self._parameters

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files in the output folder, in the order of their coming."""
        return tuple(path for name, path in self._copied.items() if name not in self._unchanged)

    @property
    def unchanged(self) -> bool:
        """Whether all that came is the image that was to be enhanced."""
        return bool(self._unchanged) and self._unchanged == set(self._copied)

    def holds(self, name: str) -> bool:
        """Whether an image is copied, by the name of its file."""
        return any(name_key(path) == name_key(name) for path in self._copied)

    def has_copied(self, server_path: str) -> bool:
        """Whether an image was copied from this very place."""
        return server_path in self._copied

    async def take(self, server_path: str) -> None:
        """Copy an image into the output folder, unless it is there.

        Where the server cannot be reached, the image is not forgotten: see :meth:`take_all`.
        """
        if server_path not in self._announced and len(self._announced) >= self._most:
            msg = f"The server names more than {self._most} files for {self._count} images."
            raise GenerationError(msg)
        self._announced[server_path] = None
        identified = name_key(server_path) in self._known
        if not (server_path in self._copied or (identified and self.holds(server_path))):
            path = await self._copy(server_path, self._facts(server_path))
            if self._given is not None and await asyncio.to_thread(
                shows_the_same, path, self._given
            ):
                self._unchanged.add(server_path)
            self._copied[server_path] = path

    async def take_all(self) -> None:
        """Copy what was announced and could not be copied then, trying more than once."""
        for attempt in range(1, FETCH_ATTEMPTS + 1):
            try:
                for path in (*(self.final or ()), *self._announced):
                    await self.take(path)
            except ConnectionLost:
                if attempt == FETCH_ATTEMPTS:
                    raise
                await asyncio.sleep(FETCH_PAUSE)
            else:
                return

    def note(self, text: str) -> None:
        """Read from a progress text which image is being saved; a skipped one leaves no file."""
        if (saving := _SAVING.search(text)) is not None:
            self._saved.append(int(saving[1]))

    def identify(self, name: str, number: int) -> None:
        """Note which image of the request, from 0, a file is, because its metadata says so."""
        self._known[name_key(name)] = number

    def images(self) -> list[Image]:
        """Return the images in the order in which they were asked for."""
        return [self._image(self._copied[path], number) for path, number in self._ordered()]

    def files(self) -> list[CollectedFile]:
        """Return the files of the images in the same order, with what the server calls them."""
        return [CollectedFile(self._copied[path], path, number) for path, number in self._ordered()]

    @property
    def dropped(self) -> frozenset[str]:
        """The server's names of what came and counts as none of its images."""
        return frozenset(self._unchanged)

    def _ordered(self) -> list[tuple[str, int]]:
        """Return the server's names in order, each with its number in the request, from 0."""
        made = [path for path in self._copied if path not in self._unchanged]
        finals = [path for path in self.final or () if path in made]
        ordered = [*finals, *(path for path in made if path not in finals)]
        numbers = self._numbers(ordered)
        if self._known:
            numbers = {path: self._known.get(name_key(path), numbers[path]) for path in ordered}
            ordered.sort(key=lambda path: numbers[path])
        return [(path, numbers[path]) for path in ordered]

    def _numbers(self, paths: list[str]) -> dict[str, int]:
        """Return which image of the request each file is, as far as its progress texts tell."""
        said = list(dict.fromkeys(self._saved))
        count = self._count
        if len(said) == len(paths):
            counted = [number - 1 for number in said]
        elif self._request.values.get("enhance_checkbox") and len(paths) % count == 0:
            # Every image comes with its enhancements behind it, all made with one seed.
            counted = [index // (len(paths) // count) for index in range(len(paths))]
        else:
            counted = list(range(len(paths)))
        return dict(zip(paths, counted, strict=True))

    def _facts(self, server_path: str) -> ImageFacts:
        """Return what an image's name may tell, as far as it is known when the image comes."""
        coming = [*self._copied, server_path]
        number = self._known.get(name_key(server_path), self._numbers(coming)[server_path])
        seed = self._request.seed_of(number)
        values = {"seed": seed, "index": number + 1, "prompt": self._parameters.get("prompt", "")}
        return ImageFacts(values, {**self._parameters, "image_seed": seed})

    @property
    def _most(self) -> int:
        """How many files there can be: an image comes with its steps, and all with a grid."""
        return (self._count + 1) * FILES_AN_IMAGE

    @property
    def _count(self) -> int:
        return int(self._request.values.get("image_number") or 1)

    def _image(self, path: Path, number: int) -> Image:
        if self._request.values.get("generate_image_grid") and number >= self._count:
            # The grid shows all of them: what made it is the whole request.
            seed = self._request.seed
            return Image(path, seed=seed, parameters={**self._parameters, "image_seed": seed})
        seed = self._request.seed_of(number)
        parameters = {**self._parameters, "image_seed": seed, "image_number": 1}
        return Image(path, seed=seed, parameters=parameters)


def name_key(server_path: str) -> str:
    """Return what tells a file's name from others, wherever the server keeps a copy of it.

    Gradio's copies lose the characters that it does not like in a name.
    """
    name = PurePath(server_path.replace("\\", "/")).name
    return re.sub(r"[\W_]+", "", name).casefold()
