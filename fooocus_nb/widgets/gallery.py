"""Images as a widget: a grid to browse, compare, select, and generate again."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import traitlets

from fooocus_nb import _html
from fooocus_nb._html import clip, parameter_rows
from fooocus_nb.engine.manager import name_to_say
from fooocus_nb.errors import EngineError, ParameterError
from fooocus_nb.fooocus.given import only_our_errors, path_of
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.results import Image, static_bundle
from fooocus_nb.results.cell import cell_of
from fooocus_nb.widgets._assets import joined
from fooocus_nb.widgets._gallery_items import MIME, Items, Worker, items_of
from fooocus_nb.widgets._html import images_text
from fooocus_nb.widgets.base import LiveView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.results.history import ImageHistory
    from fooocus_nb.widgets._gallery_items import GalleryItem

__all__ = ["Gallery", "gallery"]

#: What is sent when it is shown, before a browser has sent any request.
FIRST_CARDS = 200
FIRST_THUMBNAILS = 24
MAX_ORIGINAL_BYTES = 128 << 20
MAX_CELL = 200_000
MAX_DETAIL = 20_000
STATIC_IMAGES = 12


class Gallery(LiveView):
    """Shows images as a grid.

    Returned by :func:`fooocus_nb.gallery`, ``engine.gallery()`` and ``result.gallery()``.
    Thumbnails are made in the background and sent for the images on the screen; an original is
    sent when its image is opened. A saved notebook keeps a static grid of the first images.

    Parameters
    ----------
    source : path-like, Image, Result, or an iterable of these, optional
        The images; see :func:`fooocus_nb.gallery`.
    title : str, optional
        The heading.
    newest_first : bool, optional
        Whether the last image that was added comes first. Default False.
    hint : str, optional
        Shown while there are no images.
    engine : Engine, optional
        The engine that made all of the images; cells that are copied name it where needed.
    schema : callable, optional
        Returns that engine's schema; cells that are copied leave its defaults out.
    history : ImageHistory, optional
        Its images are shown, and each further one as soon as it is finished.
    recursive : bool, optional
        Whether folders are searched with their subfolders. Default True.

    Attributes
    ----------
    selected : list of Image
        The selected images, in the order of their selection; can be set, also to paths, and
        observed.
    images : list of Image
        All images, in order.
    widget : Gallery
        The view itself, for layouts: ``VBox([engine.gallery().widget])``.
    """

    _esm = joined(
        "dom.js",
        "kernel.js",
        "dialog.js",
        "zoom.js",
        "server.js",
        "gallery_cards.js",
        "gallery_moves.js",
        "gallery_images.js",
        "gallery_box.js",
        "gallery.js",
    )
    _css = joined("base.css", "kernel.css", "gallery.css", "gallery_box.css")
    title = traitlets.Unicode().tag(sync=True)
    newest_first = traitlets.Bool().tag(sync=True)
    hint = traitlets.Unicode().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)
    selected: traitlets.List[Image] = traitlets.List()

    def __init__(
        self,
        source: Any = (),
        *,
        title: str = "Gallery",
        newest_first: bool = False,
        hint: str = "There are no images here.",
        engine: Engine | None = None,
        schema: Callable[[], Schema] | None = None,
        history: ImageHistory | None = None,
        recursive: bool = True,
    ) -> None:
        self._items = Items()
        self._source = source
        self._recursive = recursive
        self._engine = engine
        self._schema = schema
        #: The viewer whose selection this thread is passing on; it is not sent back to it.
        self._selecting = threading.local()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._worker = Worker(self._items, self.send)
        self._items.add(items_of(source, recursive=recursive))
        super().__init__(
            title=clip(title, 80),
            newest_first=newest_first,
            hint=clip(hint, 200),
        )
        self.on_msg(self._handle)
        if history is not None:
            self._unsubscribe = history.subscribe(self._add_finished)
            self.add(history.images())  # one that came in between is added once

    # -- from Python ------------------------------------------------------------------------

    @property
    def images(self) -> list[Image]:
        """All images, in order; the parameters of files are read now if they were not before."""
        return [self._items.image(entry) for entry in self._items]

    def __len__(self) -> int:
        return len(self._items)

    def add(self, source: Any) -> None:
        """Add images, files or folders; an image that is there already is not added again.

        Parameters
        ----------
        source : path-like, Image, Result, or an iterable of these
            The images to add.

        Raises
        ------
        ParameterError
            When `source` is none of these, or there is no such file or folder.
        """
        self._worker.read(self._items.add(items_of(source, recursive=self._recursive)))

    def refresh(self) -> None:
        """Read the folders of its source again, and add new images."""
        self.add(self._source)

    def close(self) -> None:
        """Close the gallery, and leave a static grid of the first images; the files stay."""
        self._unsubscribe()
        self._worker.close()
        super().close()

    @traitlets.validate("selected")
    def _validate_selected(self, proposal: Any) -> list[Image]:
        entries = [self._items.entry_of(thing) for thing in proposal["value"]]
        for thing, entry in zip(proposal["value"], entries, strict=True):
            if entry is None:
                msg = (
                    f"selected={clip(repr(thing), 200)}: it is not in this gallery of {len(self)} "
                    "images. Take an Image from its .images, or the path of one."
                )
                raise ParameterError(msg)
        found = {entry.number: entry for entry in entries if entry is not None}
        return [self._items.image(entry) for entry in found.values()]

    @traitlets.observe("selected")
    def _selection_changed(self, _change: object) -> None:
        self._send_selection()

    def _send_selection(self) -> None:
        ids = [entry.number for image in self.selected if (entry := self._items.entry_of(image))]
        viewer = getattr(self._selecting, "viewer", "")
        self.send({"kind": "selection", "ids": ids, "from": viewer})

    # -- from the browser -------------------------------------------------------------------

    def _handle(self, _widget: object, content: Any, _buffers: object) -> None:
        """Handle a message of the browser. It may come on any thread and hold anything."""
        if not isinstance(content, dict):
            return
        numbers = content.get("ids")
        wanted = numbers if isinstance(numbers, list) else [content.get("id")]
        entries = [entry for number in wanted if (entry := self._items.get(number)) is not None]
        viewer = str(content.get("viewer", ""))[:64]
        match content.get("kind"):
            case "open":
                self._worker.read(self._items)
                self._worker.submit(self._send_selection)
            case "thumbs":
                self._worker.request_thumbnails(entries)
            case "select":
                self._select(entries, viewer)
            case "details" if entries:
                self._worker.submit(lambda: self._send_details(entries[0], viewer))
            case "original" if entries:
                self._worker.submit(lambda: self._send_original(entries[0], viewer))

    def _select(self, entries: list[GalleryItem], viewer: str) -> None:
        self._selecting.viewer = viewer
        try:
            self.selected = [self._items.image(entry) for entry in entries]
        finally:
            self._selecting.viewer = ""

    def _send_details(self, entry: GalleryItem, viewer: str) -> None:
        image = self._items.image(entry)
        parameters = {**image.parameters, "image_number": 1}
        cell = ""
        if image.parameters:
            if image.seed is not None:
                parameters["image_seed"] = image.seed
            cell = self._cell(parameters)
        rows = parameter_rows(image.parameters, limit=MAX_DETAIL)
        self.send(
            {
                "kind": "details",
                "id": entry.number,
                "viewer": viewer,
                "path": clip(entry.path, 2000),
                "rows": [[clip(name, 100), value] for name, value in rows],
                "cell": cell if len(cell) <= MAX_CELL else "",
            }
        )

    def _cell(self, parameters: Mapping[str, Any]) -> str:
        if self._engine is None:
            return cell_of(parameters)
        return cell_of(parameters, self._defaults(), name_to_say(self._engine))

    def _defaults(self) -> Mapping[str, Any]:
        """Return the defaults of the engine's server; none where it does not run."""
        try:
            schema = self._schema() if self._schema is not None else None
        except EngineError:
            return {}
        if schema is None:
            return {}
        return {name: parameter.default for name, parameter in schema.parameters.items()}

    def _send_original(self, entry: GalleryItem, viewer: str) -> None:
        answer = {"kind": "original", "id": entry.number, "viewer": viewer}
        try:
            size = entry.path.stat().st_size
            if size > MAX_ORIGINAL_BYTES:
                self.send({**answer, "error": f"The file is too large to show: {size:,} bytes."})
                return
            data = read_plain_file(entry.path, MAX_ORIGINAL_BYTES)
        except OSError as error:
            self.send({**answer, "error": clip(error.strerror or "It cannot be read.")})
            return
        mime = MIME.get(entry.path.suffix.lower(), "application/octet-stream")
        self.send({**answer, "mime": mime}, [data])

    # -- what is shown ----------------------------------------------------------------------

    def _add_finished(self, image: Image) -> None:
        """Add an image that was just finished, with its thumbnail: the kernel may be busy."""
        entries = self._items.add([image])
        self._worker.read(entries)
        self._worker.request_thumbnails(entries)

    def _begin(self) -> None:
        entries = list(self._items)
        shown = entries[::-1] if self.newest_first else entries
        cards = [self._items.card(entry) for entry in entries[:FIRST_CARDS]]
        self.first = {"total": len(entries), "cards": cards}
        self._worker.read(entries)
        self._worker.request_thumbnails(shown[:FIRST_THUMBNAILS])

    def _text(self) -> str:
        lines = [f"{self.title}: {images_text(len(self))}"]
        lines += [f"  {_html.clean(entry.path)}" for entry in list(self._items)[:STATIC_IMAGES]]
        return "\n".join(lines)

    def _html(self) -> str:
        entries = list(self._items)
        shown = (entries[::-1] if self.newest_first else entries)[:STATIC_IMAGES]
        facts = [images_text(len(entries))]
        if len(entries) > len(shown):
            facts.append(f"the first {len(shown)} are shown")
        images = [self._items.image(entry) for entry in shown]
        return str(static_bundle(images, self.title, facts, {}, "", small=True)["text/html"])


def gallery(
    source: str | os.PathLike[str] | Image | Iterable[Any],
    *,
    recursive: bool = True,
) -> Gallery:
    """Show images as a grid: to view, compare, select, filter, and generate again.

    Parameters
    ----------
    source : path-like, Image, Result, or an iterable of these
        A folder stands for the PNG, JPEG and WebP files in it, newest first, 10,000 at the most.
        A file's parameters are read from its metadata, or from Fooocus's ``log.html`` beside it.
    recursive : bool, optional
        Whether folders are searched with their subfolders. Default True.

    Returns
    -------
    Gallery
        Show it as the last value of a cell; ``.selected`` holds the selected images. A file that
        cannot be read is shown as such.

    Raises
    ------
    ParameterError
        When there is no such folder or file, or `source` is none of these.
    """
    title = "Gallery"
    if isinstance(source, (str, os.PathLike)):
        title = path_of("gallery(source)", source, ParameterError).name or title
    with only_our_errors("gallery(source)", ParameterError):  # it may be any iterable
        return Gallery(source, title=title, recursive=recursive)
