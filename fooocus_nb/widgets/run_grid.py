"""The images of a run as a widget: a labelled grid to look through, rate and go on from."""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
from typing import TYPE_CHECKING, Any

import traitlets

from fooocus_nb import _html
from fooocus_nb._html import clip, parameter_rows
from fooocus_nb.errors import FooocusError, RunError
from fooocus_nb.experiment.contact_sheet import inline_sheet, sheet_facts
from fooocus_nb.experiment.grid_data import MAX_ITEMS
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.results.cell import cell_of
from fooocus_nb.results.thumbnails import webp_thumbnail
from fooocus_nb.widgets._assets import joined
from fooocus_nb.widgets._byte_cache import ByteCache
from fooocus_nb.widgets._requests import RequestThread
from fooocus_nb.widgets._run_source import (
    HAND_ON,
    HAND_ON_PAGE,
    NAMES,
    axis_of,
    hand_on_cell,
    row_of,
    source_of,
)
from fooocus_nb.widgets.base import LiveView

if TYPE_CHECKING:
    from pathlib import Path

    from fooocus_nb.experiment.compare import Comparison
    from fooocus_nb.experiment.grid_data import GridData, Roles
    from fooocus_nb.experiment.run import Run, RunImage

__all__ = ["RunGrid", "page_assets", "page_data"]

_log = logging.getLogger(__name__)

#: What draws the grid, in this order; the page of a shared run has the same.
_SCRIPTS = ("dom.js", "dialog.js", "zoom.js", "run_grid_model.js", "run_grid_box.js", "run_grid.js")
_SHEETS = ("base.css", "gallery_box.css", "run_grid.css")
#: The sides of thumbnails that a page may ask for, with the bytes of each at the most.
SIDES = {160: 10_000, 320: 28_000, 640: 90_000, 1280: 320_000}
THUMBNAILS_AT_ONCE = 4
#: A page shows fewer at once; what exceeds this is outdated.
MAX_REQUESTED = 300
CACHE_BYTES = 48 << 20
#: What is in the widget's state, so that it shows while the kernel is busy; the rest follows.
FIRST_CELLS = 400
CELLS_AT_ONCE = 1_000
MAX_ORIGINAL_BYTES = 128 << 20
MAX_DETAIL = 20_000
MAX_CELL = 200_000
_MIMES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
#: What Pillow raises at files that are no images, or hostile ones.
_UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, MemoryError, RunError)


class RunGrid(LiveView):
    """The images of a run as a labelled grid.

    Returned by :meth:`Run.grid` and :meth:`Comparison.grid`. Only what is on the screen is sent.
    A saved notebook keeps one contact sheet of 60 images at the most.

    Parameters
    ----------
    run : Run or Comparison
        What it shows.
    x, y, z : str, optional
        The axes that are columns, rows and blocks. What is not given is chosen.

    Raises
    ------
    ParameterError
        When there is no such axis.
    """

    _esm = joined(*_SCRIPTS, "kernel.js", "run_grid_widget.js")
    _css = joined(*_SHEETS, "kernel.css")
    first = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        run: Run | Comparison,
        *,
        x: str | None = None,
        y: str | None = None,
        z: str | None = None,
    ) -> None:
        self._requests: RequestThread[tuple[str, int]] = RequestThread(
            "fooocus-nb-run-grid", self._send_thumbnails, THUMBNAILS_AT_ONCE
        )
        self._source = source_of(run)
        self._axes = (x, y, z)
        self._data = self._source.data()
        self._roles: Roles = self._data.roles(x, y, z)
        self._rows: dict[str, list[Any]] = {}
        self._lock = threading.Lock()
        self._thumbnails: ByteCache[tuple[str, int]] = ByteCache(CACHE_BYTES)
        self._sheet: str | None = None
        self._displayed = False
        super().__init__(first=self._beginning())
        self.on_msg(self._handle)

    # -- from Python ------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._data.items)

    def refresh(self) -> None:
        """Show what has been made, rated or measured since."""
        data = self._source.data()
        with self._lock:
            same = data.axes == self._data.axes
            known = self._rows
            self._data = data
            if not same:
                self._roles = _kept_roles(data, self._axes)
            rows = self._all_rows()
        if not same:
            self._requests.submit(self._send_all)
            return
        changed = [row for row in rows if known.get(row[0]) != row]
        gone = known.keys() - {row[0] for row in rows}
        if gone:  # a planned cell that was made has another key now
            self._requests.submit(self._send_all)
        elif changed:
            self._requests.submit(lambda: self._send_cells(changed))

    def close(self) -> None:
        """Close the grid, and leave a contact sheet; the images stay where they are."""
        self._requests.close()
        self._sheet = None
        super().close()

    # -- what is sent -----------------------------------------------------------------------

    def _all_rows(self) -> list[list[Any]]:
        measures = self._source.measures()
        rows = [row_of(item, measures) for item in self._data.items]
        self._rows = {row[0]: row for row in rows}
        return rows

    def _about(self) -> dict[str, Any]:
        where = self._source.where
        if len(self._data.items) >= MAX_ITEMS:
            where = f"The first {MAX_ITEMS:,} are shown. {where}"
        roles = self._roles
        return {
            "title": clip(self._source.title, 80),
            "where": clip(where, 400),
            "axes": [axis_of(axis) for axis in self._data.axes],
            "roles": {"x": roles.x, "y": roles.y, "z": roles.z},
            "writable": self._source.writable,
            "handOn": list(HAND_ON),
        }

    def _send_all(self) -> None:
        rows = list(self._rows.values())
        first, rest = rows[:CELLS_AT_ONCE], rows[CELLS_AT_ONCE:]
        self.send({"kind": "grid", **self._about(), "count": len(rows), "cells": first})
        self._send_cells(rest)

    def _send_cells(self, rows: list[list[Any]]) -> None:
        for start in range(0, len(rows), CELLS_AT_ONCE):
            self.send({"kind": "cells", "cells": rows[start : start + CELLS_AT_ONCE]})

    # -- from the browser -------------------------------------------------------------------

    def _handle(self, _widget: object, content: Any, _buffers: object) -> None:
        """Handle a message of the browser. It may come on any thread and hold anything."""
        if not isinstance(content, dict):
            return
        match content.get("kind"):
            case "open":
                self._requests.submit(self._send_all)
            case "thumbs":
                self._requests.request(self._wanted(content.get("wants")))
            case "original" | "details" | "rate" | "note" | "hand_on" as kind:
                self._requests.submit(lambda: self._answer(kind, content))

    def _wanted(self, wants: Any) -> list[tuple[str, int]]:
        found = []
        for want in wants[:MAX_REQUESTED] if isinstance(wants, list) else ():
            match want:
                case [str(key), int(side)] if side in SIDES and self._rows.get(key):
                    found.append((key, side))
        return found

    def _answer(self, kind: str, content: dict[str, Any]) -> None:
        key = str(content.get("key", ""))[:200]
        answer: dict[str, Any] = {
            "kind": "answer",
            "ask": content.get("ask"),
            "viewer": str(content.get("viewer", ""))[:64],
        }
        buffers: list[bytes] = []
        try:
            run, image = self._source.find(key)
            if kind == "original":
                answer["mime"], data = _original(image)
                buffers = [data]
            elif kind == "details":
                answer |= _details(image)
            elif kind == "hand_on":
                text = hand_on_cell(str(content.get("what")), run, image)
                answer["text"] = text if len(text) <= MAX_CELL else ""
            else:
                self._store(kind, run, image, content)
        except (FooocusError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            answer["error"] = clip(reason or str(error), 500)
        except Exception as error:  # noqa: BLE001 - else the page waits, and blames the kernel
            _log.debug("a request of a grid failed", exc_info=True)
            answer["error"] = clip(f"{type(error).__name__}: {error}", 500)
        self.send(answer, buffers)
        if kind in ("rate", "note") and "error" not in answer:
            self._tell_rating(key, image)

    def _store(self, kind: str, run: Run, image: RunImage, content: dict[str, Any]) -> None:
        if kind == "rate":
            run.rate(image, content.get("rating"))
        else:
            run.rate(image, image.rating, clip(content.get("note", ""), 2000))

    def _tell_rating(self, key: str, image: RunImage) -> None:
        """Tell the other pages that show it."""
        self.send({"kind": "rated", "key": key, "rating": image.rating, "note": image.note})

    def _send_thumbnails(self, wants: list[tuple[str, int]]) -> None:
        made, broken = [], []
        for key, side in wants:
            try:
                made.append((key, side, self._thumbnail(key, side)))
            except _UNREADABLE as error:
                gone = isinstance(error, FileNotFoundError)
                broken.append([key, "The file is gone." if gone else "It cannot be read."])
        if made:
            thumbs = [[key, side] for key, side, _ in made]
            self.send({"kind": "thumbs", "thumbs": thumbs}, [data for _, _, data in made])
        if broken:
            self.send({"kind": "broken", "broken": broken})

    def _thumbnail(self, key: str, side: int) -> bytes:
        import PIL.Image

        known = self._thumbnails.get((key, side))
        if known is not None:
            return known
        _, image = self._source.find(key)
        try:
            data = _small(image, side)
        except PIL.Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error
        self._thumbnails.put((key, side), data)
        return data

    # -- what is shown ----------------------------------------------------------------------

    def _begin(self) -> None:
        self.first = self._beginning()
        self._displayed = True
        self._requests.submit(self._make_sheet)

    def _beginning(self) -> dict[str, Any]:
        """Return what is in the widget's state: the axes and the first cells."""
        with self._lock:
            rows = self._all_rows()
        return {**self._about(), "cells": rows[:FIRST_CELLS]}

    def _make_sheet(self) -> None:
        """Make the contact sheet, and put it where the notebook keeps it."""
        self._sheet = self._sheet_html()
        self._renew_fallback()

    def _sheet_html(self) -> str:
        data, roles = self._data, self._roles
        title = f'<div style="font-weight:600">{_html.escape(self._source.title, 80)}</div>'
        facts = _html.escape(sheet_facts(data), 400)
        head = f'{title}<div class="fnb-dim" style="font-size:12px">{facts}</div>'
        where = _html.escape(self._source.where, 400)
        if not data.items:
            return _html.wrap(head, f'<div class="fnb-dim">{where}</div>', label="Run")
        sheet, count = inline_sheet(data, roles)
        shown = f"{count:,} of {len(data.items):,} are shown. " if count < len(data.items) else ""
        return _html.wrap(
            head,
            f'<img src="{_html.data_uri(sheet, "image/webp")}" alt="Contact sheet" '
            'style="display:block;max-width:100%;height:auto;margin:2px 0">',
            f'<div class="fnb-dim" style="font-size:12px">{shown}{where}</div>',
            label="Run",
        )

    def _text(self) -> str:
        facts = sheet_facts(self._data)
        return _html.clean(f"{self._source.title}: {facts}. {self._source.where}")

    def _html(self) -> str:
        if self._sheet is not None:
            return self._sheet
        if self._displayed and not self._requests.closed:  # it follows: the view is shown first
            return _html.wrap(f'<div class="fnb-dim">{_html.escape(self._text(), 600)}</div>')
        with contextlib.suppress(*_UNREADABLE):
            return self._sheet_html()
        return _html.wrap(f'<div class="fnb-dim">{_html.escape(self._text(), 600)}</div>')


def _kept_roles(data: GridData, axes: tuple[str | None, str | None, str | None]) -> Roles:
    """Return the roles that were asked for; chosen ones where such an axis is gone."""
    try:
        return data.roles(*axes)
    except FooocusError:
        return data.roles()


def _small(image: RunImage, side: int) -> bytes:
    """Return a thumbnail: from the file, or the one that a shared run holds in its place."""
    try:
        path = image.path
    except RunError:
        return image.thumbnail(side)
    return webp_thumbnail(path, side, SIDES[side])


def _original(image: RunImage) -> tuple[str, bytes]:
    path: Path | None
    try:
        path = image.path
    except RunError:
        return "image/webp", image.thumbnail(1280)
    size = path.stat().st_size
    if size > MAX_ORIGINAL_BYTES:
        msg = f"The file is too large to show: {size:,} bytes."
        raise RunError(msg)
    data = read_plain_file(path, min(MAX_ORIGINAL_BYTES, max_file_bytes()))
    return _MIMES.get(image.record.format, "application/octet-stream"), data


def _details(image: RunImage) -> dict[str, Any]:
    rows = parameter_rows(image.parameters, limit=MAX_DETAIL)
    prompt = str(image.parameters.get("prompt", ""))
    return {
        "prompt": clip(prompt, MAX_DETAIL),
        "rows": [[clip(name, 100), value] for name, value in rows if name != "prompt"],
    }


def page_assets() -> tuple[str, str]:
    """Return the script and the style sheet of the grid, for a page without Jupyter."""
    return joined(*_SCRIPTS), joined(*_SHEETS)


def page_data(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what such a page shows: the grid, and by key what is known of each image."""
    source = source_of(run)
    data = source.data()
    roles, measures = data.roles(), source.measures()
    grid = {
        "axes": [axis_of(axis) for axis in data.axes],
        "roles": {"x": roles.x, "y": roles.y, "z": roles.z},
        "cells": [dict(zip(NAMES, row_of(item, measures), strict=True)) for item in data.items],
        "handOn": [HAND_ON_PAGE],
    }
    details = {}
    for item in data.items:
        if item.image is not None:
            image = run.image(item.key)
            cell = cell_of(image.parameters)
            # Half a cell would be another one.
            details[item.key] = {**_details(image), "cell": cell if len(cell) <= MAX_CELL else ""}
    return grid, details
