"""Contact sheets: all images of a run on one labelled sheet, or on several."""

from __future__ import annotations

import io
import math
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb import _html
from fooocus_nb.errors import OutputError, ParameterError, RunError, nearest
from fooocus_nb.experiment.estimates import size_of
from fooocus_nb.experiment.folder import given_path
from fooocus_nb.experiment.fonts import NO_FONT, Typeface
from fooocus_nb.experiment.grid_data import GridData, GridItem, Roles, grid_data
from fooocus_nb.experiment.sheet_layout import (
    Limits,
    Metrics,
    Page,
    SheetContent,
    lay_out,
    paginate,
    part_of,
    sheet_size,
)
from fooocus_nb.fooocus.whole_files import writing_whole
from fooocus_nb.results.thumbnails import small_image, webp_thumbnail

if TYPE_CHECKING:
    import os

    import PIL.Image
    from PIL.ImageDraw import ImageDraw

    from fooocus_nb.experiment.protocols import RunView
    from fooocus_nb.experiment.sheet_layout import Label

__all__ = ["ContactSheet", "SheetPlan", "inline_sheet", "plan_sheet", "run_sheet", "save_sheet"]

#: Pillow warns of a decompression bomb at 89 million pixels; three bytes each are 192 MB.
MAX_PIXELS = 64_000_000
#: The longest side that a format has, and what Pillow calls it.
FORMATS = {
    ".png": ("PNG", 200_000),
    ".jpg": ("JPEG", 65_500),
    ".jpeg": ("JPEG", 65_500),
    ".webp": ("WEBP", 16_383),
}
TILES = (32, 1024)
DEFAULT_TILE = 256
MAX_SHEETS = 200
#: What a notebook keeps: as base64 it stays below 600 kB, with the line that stands below it.
INLINE_CELLS = 60
INLINE_BYTES = 430_000
INLINE_TILE = 168
_CAPTION_LINES = 2
#: So many letters fit below an image, whose width is some 15 times the size of the font.
_SHORT_CAPTION = 24
#: What a thumbnail that is no image any more raises.
_UNREADABLE = (OSError, ValueError, SyntaxError, struct.error)


@dataclass(frozen=True)
class _Colours:
    """The colours of a sheet; no background is transparent."""

    background: str | None
    text: str
    dim: str
    empty: str


_PAPER = _Colours("#ffffff", "#1b1b1b", "#6b6b6b", "#eeeeee")
#: For a notebook, whose theme is not known: legible on white and on black.
_ANYWHERE = _Colours(None, "#7d7d7d", "#7d7d7d", "#80808030")


@dataclass(frozen=True)
class SheetPlan:
    """How large the sheets of a run will be, before the first image is read.

    Attributes
    ----------
    pages : tuple of Page
        What is on each.
    sizes : tuple of (int, int)
        The width and height of each, in pixels.
    note : str
        What to know about it, such as why there are several; empty for nothing.
    """

    pages: tuple[Page, ...]
    sizes: tuple[tuple[int, int], ...]
    note: str = ""


class ContactSheet(Sequence[Path]):
    """The files of a contact sheet; shown in a notebook as the first of them.

    Attributes
    ----------
    path : Path
        The first file, the only one unless the run is very large.
    note : str
        What to know about it, such as why there are several, or that a font is missing.
    """

    def __init__(self, paths: Sequence[Path], note: str) -> None:
        self._paths = tuple(paths)
        self.note = note

    @property
    def path(self) -> Path:
        """The first file."""
        return self._paths[0]

    def __getitem__(self, index: Any) -> Any:
        return self._paths[index]

    def __len__(self) -> int:
        return len(self._paths)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        count = "" if len(self) == 1 else f", {len(self)} sheets"
        return f"<ContactSheet {str(self.path)!r}{count}>{f' {self.note}' if self.note else ''}"

    def _repr_html_(self) -> str:
        try:
            data = webp_thumbnail(self.path, 1600, INLINE_BYTES)
        except _UNREADABLE:
            return _html.wrap(f"<div>{_html.escape(self.path)}: the file is gone.</div>")
        names = ", ".join(str(path) for path in self._paths[:4])
        more = f" and {len(self) - 4} more" if len(self) > 4 else ""
        return _html.wrap(
            f'<img src="{_html.data_uri(data, "image/webp")}" alt="Contact sheet" '
            'style="max-width:100%;height:auto;border-radius:6px">',
            f'<div class="fnb-dim" style="font-size:12px;margin-top:4px">'
            f"{_html.escape(names + more, 1000)}"
            f"{'<br>' + _html.escape(self.note, 600) if self.note else ''}</div>",
            label="Contact sheet",
        )


def plan_sheet(
    data: GridData,
    roles: Roles,
    *,
    tile: int = DEFAULT_TILE,
    suffix: str = ".png",
    title: str = "",
    facts: str = "",
) -> SheetPlan:
    """Return how large the contact sheets of a grid will be; nothing is read or written.

    Parameters
    ----------
    data : GridData
        The grid.
    roles : Roles
        Which axes are columns, rows and blocks.
    tile : int, optional
        The longer side of an image on it, in pixels. Default 256.
    suffix : str, optional
        The format: ``.png``, ``.jpg`` or ``.webp``. Default ``.png``.
    title, facts : str, optional
        The heading, and the line below it.

    Returns
    -------
    SheetPlan
        With a note where the images become smaller, or several sheets are needed.
    """
    arranged = _Arranged(data, roles)
    metrics, _ = _typefaces(tile, None)
    return _planned(arranged.content(title, facts), metrics, tile, suffix)


def _planned(content: SheetContent, metrics: Metrics, tile: int, suffix: str) -> SheetPlan:
    kind, side = FORMATS[suffix]
    pages = paginate(content, metrics, tile, Limits(side, MAX_PIXELS))
    sizes = [sheet_size(part_of(content, page), metrics, page.tile) for page in pages[:MAX_SHEETS]]
    note = ""
    if len(pages) > 1:
        note = f"{len(pages)} sheets: one alone would be too large."
    elif pages[0].tile < tile:
        note = (
            f"The images are {pages[0].tile} instead of {tile} pixels wide: a sheet as {kind} has "
            f"{side:,} pixels at the most on a side, and {MAX_PIXELS // 1_000_000} million in all."
        )
    if len(pages) > MAX_SHEETS:
        note = f"{len(pages):,} sheets would be needed; the first {MAX_SHEETS} are made."
    return SheetPlan(tuple(pages[:MAX_SHEETS]), tuple(sizes), note)


def save_sheet(
    data: GridData,
    roles: Roles,
    path: str | os.PathLike[str],
    *,
    tile: int = DEFAULT_TILE,
    title: str = "",
    facts: str = "",
    font: str | os.PathLike[str] | None = None,
) -> ContactSheet:
    """Write contact sheets, each aside and renamed when it is whole.

    Parameters
    ----------
    data : GridData
        The grid.
    roles : Roles
        Which axes are columns, rows and blocks.
    path : path-like
        Where to: ``.png``, ``.jpg``, ``.jpeg`` or ``.webp``. Several sheets have a number behind
        the name. A file that is there is replaced.
    tile : int, optional
        The longer side of an image on it, 32 to 1024 pixels. Default 256; less where the sheet
        would be too large.
    title, facts : str, optional
        The heading, and the line below it.
    font : path-like, optional
        A font file. Default: Pillow's own, and fonts of this machine for what that lacks.

    Returns
    -------
    ContactSheet
        The files.

    Raises
    ------
    ParameterError
        When `path` has another suffix, `tile` is out of range, `font` is no font, or there is
        nothing to show.
    OutputError
        When a sheet cannot be written; images and run stay as they are.
    """
    target = given_path(path, "path")
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        allowed = ", ".join(FORMATS)
        msg = f"path={str(path)!r} must end in one of: {allowed}.{nearest(suffix, FORMATS)}"
        raise ParameterError(msg)
    low, high = TILES
    if isinstance(tile, bool) or not isinstance(tile, int) or not low <= tile <= high:
        msg = f"tile={tile!r} must be a whole number from {low} to {high}: pixels."
        raise ParameterError(msg)
    if not data.items:
        msg = "A contact sheet needs images, and this run has none yet."
        raise ParameterError(msg)
    arranged = _Arranged(data, roles)
    content = arranged.content(title, facts)
    metrics, faces = _typefaces(tile, font)
    plan = _planned(content, metrics, tile, suffix)
    paths = []
    for number, page in enumerate(plan.pages, 1):
        name = target if len(plan.pages) == 1 else target.with_stem(f"{target.stem}-{number}")
        sheet = _draw(arranged, content, page, metrics, faces, _PAPER)
        _write(sheet, name, FORMATS[suffix][0])
        paths.append(name)
    return ContactSheet(paths, " ".join(filter(None, [plan.note, _no_font(faces)])))


def inline_sheet(data: GridData, roles: Roles, max_bytes: int = INLINE_BYTES) -> tuple[bytes, int]:
    """Return a small sheet as WebP for a notebook, and how many places of the grid it shows.

    Parameters
    ----------
    data : GridData
        The grid.
    roles : Roles
        Which axes are columns, rows and blocks.
    max_bytes : int, optional
        How large it may be.

    Returns
    -------
    (bytes, int)
        The sheet has 60 places at the most, spread over all axes, and fits light and dark pages.
    """
    arranged = _Arranged(data, roles).limited(INLINE_CELLS)
    content = arranged.content("", "")
    metrics, faces = _typefaces(INLINE_TILE, None)
    page = Page(
        range(len(content.blocks)), range(len(content.rows)), range(len(content.columns)),
        INLINE_TILE,
    )  # fmt: skip
    sheet = _draw(arranged, content, page, metrics, faces, _ANYWHERE)
    while True:
        for quality in (80, 65, 50):
            buffer = io.BytesIO()
            sheet.save(buffer, "WEBP", quality=quality, alpha_quality=90)
            if buffer.tell() <= max_bytes:
                return buffer.getvalue(), arranged.count
        sheet = sheet.resize((sheet.width * 4 // 5 or 1, sheet.height * 4 // 5 or 1))


def run_sheet(
    run: RunView,
    path: str | os.PathLike[str],
    *,
    axes: tuple[str | None, str | None, str | None],
    tile: int,
    title: str | None,
    font: str | os.PathLike[str] | None,
) -> ContactSheet:
    """Write the contact sheet of a run; see :meth:`Run.contact_sheet`."""
    data = grid_data(run, limit=None)
    roles = data.roles(*axes)
    return save_sheet(
        data,
        roles,
        path,
        tile=tile,
        title=run.path.name if title is None else title,
        facts=sheet_facts(data),
        font=font,
    )


def sheet_facts(data: GridData) -> str:
    """Return the line below the title: how many images there are, and the prompt of all of them."""
    made = sum(item.state == "made" for item in data.items)
    facts = [f"{made:,} image{'' if made == 1 else 's'}"]
    for state, word in (("failed", "failed"), ("skipped", "skipped"), ("missing", "not made")):
        count = sum(item.state == state for item in data.items)
        facts += [f"{count:,} {word}"] if count else []
    facts += [f"{name} {data.fixed[name]}" for name in ("prompt",) if data.fixed.get(name)]
    return " · ".join(facts)


class _Arranged:
    """A grid in the order of its roles: what is at each block, row and column."""

    def __init__(self, data: GridData, roles: Roles) -> None:
        self.data = data
        self.roles = roles
        sizes = [
            len(data.axes[index]) if index >= 0 else 1 for index in (roles.z, roles.y, roles.x)
        ]
        self.picked = [list(range(size)) for size in sizes]
        self.rest = roles.rest(len(data.axes))
        self.places: dict[tuple[int, ...], list[GridItem]] = {}
        for item in data.items:
            place = tuple(
                item.at[index] if index >= 0 else 0 for index in (roles.z, roles.y, roles.x)
            )
            self.places.setdefault(place, []).append(item)
        for items in self.places.values():
            # What was planned has no place beside what was made of it.
            items.sort(key=lambda item: [item.at[index] for index in self.rest])
        self.per_slot = max((len(items) for items in self.places.values()), default=1)
        # One axis alone, or none, is a flow of images, each with its caption.
        self.flows = roles.y < 0 and roles.z < 0

    @property
    def across(self) -> int:
        """How many images a row of a flow has, for a sheet of a common shape."""
        count = len(self.picked[2]) * self.per_slot
        return min(max(math.ceil(math.sqrt(count * 4 / 3)), 1), count)

    @property
    def count(self) -> int:
        """How many images and places without one there are."""
        shown = (
            min(len(self.places.get((z, y, x), ())), self.per_slot)
            for z in self.picked[0]
            for y in self.picked[1]
            for x in self.picked[2]
        )
        return sum(shown)

    def limited(self, most: int) -> _Arranged:
        """Return a part with at most so many places, spread evenly over each axis."""
        sizes = [*map(len, self.picked), self.per_slot]
        while math.prod(sizes) > most:
            largest = max(range(4), key=lambda index: sizes[index])
            sizes[largest] -= 1
        part = _Arranged(self.data, self.roles)
        part.picked = [
            _spread(picked, size) for picked, size in zip(self.picked, sizes, strict=False)
        ]
        part.per_slot = sizes[3]
        return part

    def content(self, title: str, facts: str) -> SheetContent:
        """Return what a sheet of it shows."""
        if self.flows:
            return self._flow(title, facts)
        axes, roles = self.data.axes, self.roles
        blocks, rows, columns = self.picked

        def labels(role: int, picked: list[int]) -> list[str]:
            return [axes[role].shorts[index] for index in picked] if role >= 0 else [""]

        names = [axes[role].label if role >= 0 else "" for role in (roles.x, roles.y)]
        heads = labels(roles.z, blocks)
        if roles.z >= 0:
            heads = [f"{axes[roles.z].label} {head}" for head in heads]
        return SheetContent(
            title=title,
            facts=facts,
            columns=labels(roles.x, columns),
            rows=labels(roles.y, rows),
            blocks=heads,
            per_slot=self.per_slot,
            captions=self._caption,
            caption_lines=self._caption_lines() if self.rest else 0,
            x_name=names[0],
            y_name=names[1],
            tile=self._shape(),
        )

    def _flow(self, title: str, facts: str) -> SheetContent:
        count = len(self.picked[2]) * self.per_slot
        axes = self.data.axes
        return SheetContent(
            title=title,
            facts=facts,
            columns=[""] * self.across,
            rows=[""] * -(-count // self.across),
            captions=self._caption,
            caption_lines=_CAPTION_LINES * 2 if self._wordy() else _CAPTION_LINES if axes else 0,
            x_name=axes[self.roles.x].label if self.roles.x >= 0 else "",
            tile=self._shape(),
        )

    def _caption_lines(self) -> int:
        """How many lines captions need: one where even the longest are short."""
        axes = [self.data.axes[index] for index in self.rest]
        longest = sum(len(axis.label) + max(map(len, axis.shorts)) + 3 for axis in axes)
        return 1 if longest <= _SHORT_CAPTION else _CAPTION_LINES

    def _wordy(self) -> bool:
        """Whether the values of a flow are sentences, such as prompts."""
        x = self.roles.x
        return x >= 0 and max(map(len, self.data.axes[x].shorts)) > 40

    def item(self, block: int, row: int, column: int, number: int) -> GridItem | None:
        """Return what is at a place of the sheet; None for nothing."""
        if self.flows:
            index = row * self.across + column
            if index >= len(self.picked[2]) * self.per_slot:
                return None
            column, number = divmod(index, self.per_slot)
            row = 0
        place = tuple(
            picked[index] for picked, index in zip(self.picked, (block, row, column), strict=True)
        )
        items = self.places.get(place, [])
        return items[number] if number < len(items) else None

    def _caption(self, block: int, row: int, column: int, number: int) -> str:
        item = self.item(block, row, column, number)
        if item is None:
            return ""
        axes = self.data.axes
        shown = [self.roles.x] if self.flows and self.roles.x >= 0 else []
        texts = [axes[index].shorts[item.at[index]] for index in shown]
        texts += [
            f"{axes[index].label} {axes[index].shorts[item.at[index]]}" for index in self.rest
        ]
        return ", ".join(texts)

    def _shape(self) -> tuple[int, int]:
        """Return the most common shape of the images."""
        shapes = Counter(filter(None, map(_size, self.data.items[:1000])))
        return shapes.most_common(1)[0][0] if shapes else (1, 1)


def _size(item: GridItem) -> tuple[int, int] | None:
    """Return the size of an image; of one that isn't there yet, as it was asked for."""
    if item.image is None:
        return size_of(item.values)
    return (item.image.width, item.image.height) if item.image.width * item.image.height else None


def _spread(picked: list[int], count: int) -> list[int]:
    """Return so many of them, the first and the last among them."""
    if count >= len(picked):
        return picked
    if count == 1:
        return picked[:1]
    return [picked[round(index * (len(picked) - 1) / (count - 1))] for index in range(count)]


@dataclass(frozen=True)
class _Faces:
    label: Typeface
    title: Typeface


def _typefaces(tile: int, font: str | os.PathLike[str] | None) -> tuple[Metrics, _Faces]:
    size = min(max(tile // 15, 12), 34)
    faces = _Faces(Typeface(size, font), Typeface(size * 3 // 2, font))
    metrics = Metrics(
        faces.label.width, faces.label.line_height, faces.title.width, faces.title.line_height
    )
    return metrics, faces


def _no_font(faces: _Faces) -> str:
    missing = sorted(faces.label.missing | faces.title.missing)
    if not missing:
        return ""
    some = ", ".join(f"U+{ord(char):04X}" for char in missing[:4])
    more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
    return (
        f"{NO_FONT} stands for characters that no font of this machine has ({some}{more}): install "
        "one, such as Noto Sans CJK, or give font=."
    )


def _draw(
    arranged: _Arranged,
    content: SheetContent,
    page: Page,
    metrics: Metrics,
    faces: _Faces,
    colours: _Colours,
) -> PIL.Image.Image:
    import PIL.Image
    from PIL import ImageDraw, ImageOps

    layout = lay_out(part_of(content, page), metrics, page.tile)
    size = (layout.width, layout.height)
    sheet = (
        PIL.Image.new("RGB", size, colours.background)
        if colours.background
        else PIL.Image.new("RGBA", size, (0, 0, 0, 0))
    )
    canvas = ImageDraw.Draw(sheet)
    for slot in layout.slots:
        item = arranged.item(
            page.blocks[slot.block], page.rows[slot.row], page.columns[slot.column], slot.number
        )  # fmt: skip
        if item is None:
            continue
        box = slot.box
        shown = _thumbnail(item, max(box.width, box.height))
        if shown is None:
            corners = (box.x, box.y, box.right - 1, box.bottom - 1)
            canvas.rounded_rectangle(corners, max(box.width // 40, 2), colours.empty)
            word = {"failed": "failed", "missing": "not made"}.get(item.state, "no file")
            _centred(canvas, box, word, faces.label, colours.dim)
            continue
        shown = ImageOps.contain(shown, (box.width, box.height))
        at = (box.x + (box.width - shown.width) // 2, box.y + (box.height - shown.height) // 2)
        sheet.paste(shown, at)
    for label in layout.labels:
        _write_label(canvas, label, faces, colours)
    return sheet


def _centred(canvas: ImageDraw, box: Any, word: str, face: Typeface, colour: str) -> None:
    x = box.x + max(box.width - face.width(word), 0) // 2
    y = box.y + max(box.height - face.line_height, 0) // 2
    if face.width(word) <= box.width:
        face.draw(canvas, x, y, word, colour)


def _write_label(canvas: ImageDraw, label: Label, faces: _Faces, colours: _Colours) -> None:
    face = faces.title if label.kind == "title" else faces.label
    colour = colours.dim if label.kind in ("fact", "axis", "caption", "legend") else colours.text
    for number, line in enumerate(label.lines):
        spare = label.box.width - face.width(line)
        indent = {"left": 0, "center": spare // 2, "right": spare}[label.align]
        y = label.box.y + number * face.line_height
        face.draw(canvas, label.box.x + indent, y, line, colour)


def _thumbnail(item: GridItem, side: int) -> PIL.Image.Image | None:
    """Return an image small; None where there is none, or its file cannot be read any more."""
    import PIL.Image

    if item.image is None:
        return None
    try:
        try:
            return small_image(item.image.path, side)
        except RunError:  # a shared run without originals
            with PIL.Image.open(io.BytesIO(item.image.thumbnail(side))) as opened:
                return opened.convert("RGB")
    except (*_UNREADABLE, PIL.Image.DecompressionBombError):
        return None


def _write(sheet: PIL.Image.Image, path: Path, kind: str) -> None:
    options: dict[str, Any] = {"PNG": {}, "JPEG": {"quality": 90}, "WEBP": {"quality": 88}}[kind]
    if kind == "JPEG":
        options["subsampling"] = 0  # or coloured fringes show on the labels
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing_whole(path) as part, part.open("wb") as file:
            sheet.save(file, kind, **options)
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"The contact sheet {path} cannot be written: {reason}. The images are untouched."
        raise OutputError(msg) from error
