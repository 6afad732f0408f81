"""Where everything on a contact sheet is: a pure calculation, before the first image is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fooocus_nb.experiment.fonts import NO_FONT

__all__ = [
    "Box",
    "Label",
    "Limits",
    "Metrics",
    "Page",
    "SheetContent",
    "SheetLayout",
    "Slot",
    "lay_out",
    "paginate",
    "part_of",
    "sheet_size",
    "wrap_text",
]

#: Returns how wide a line of text is, in pixels.
Measure = Callable[[str], int]

#: Below this side an image shows nothing any more: more sheets are made instead.
MIN_TILE = 96
MAX_LABEL_LINES = 5
MAX_HEADING_LINES = 4
MAX_LEGEND_LINES = 6
MAX_LEGEND = 40
#: The shape of a sheet that blocks are arranged for: that of most screens and pages.
_SHAPE = 4 / 3


@dataclass(frozen=True)
class Metrics:
    """How wide lines of text are, and how high, in pixels: of labels, and of the title."""

    measure: Measure
    line: int
    measure_title: Measure
    title_line: int


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column behind it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.y + self.height

    def overlaps(self, other: Box) -> bool:
        """Whether both have a pixel in common."""
        return (
            self.x < other.right
            and other.x < self.right
            and self.y < other.bottom
            and other.y < self.bottom
        )


@dataclass(frozen=True)
class Label:
    """Lines of text in a box. `kind` says what for: title, fact, heading, column, row, caption."""

    box: Box
    lines: tuple[str, ...]
    kind: str
    align: str = "left"


@dataclass(frozen=True)
class Slot:
    """The place of one image: its block, row, column, and which of the images there it is."""

    box: Box
    block: int
    row: int
    column: int
    number: int


@dataclass(frozen=True)
class SheetContent:
    """What a sheet shows.

    Attributes
    ----------
    title : str
        The heading of the sheet.
    facts : str
        The line below it.
    columns, rows, blocks : sequence of str
        The labels; one empty label where there is no such axis.
    per_slot : int
        How many images there may be at one place.
    captions : callable
        Returns the text below an image, by block, row, column and number; empty for none.
    caption_lines : int
        How many lines there are below each image for its caption.
    x_name, y_name : str
        What the columns and the rows are; empty for nothing.
    tile : tuple of (int, int)
        The shape of an image: its width and height; only their ratio counts.
    """

    title: str
    facts: str
    columns: Sequence[str]
    rows: Sequence[str] = ("",)
    blocks: Sequence[str] = ("",)
    per_slot: int = 1
    captions: Callable[[int, int, int, int], str] = lambda *_: ""
    caption_lines: int = 0
    x_name: str = ""
    y_name: str = ""
    tile: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class SheetLayout:
    """A sheet: its size in pixels, all labels, and the places of all images."""

    width: int
    height: int
    labels: tuple[Label, ...]
    slots: tuple[Slot, ...]
    tile: tuple[int, int]


@dataclass(frozen=True)
class Limits:
    """What a sheet may have: the longest side and the number of pixels."""

    side: int
    pixels: int

    def allow(self, width: int, height: int) -> bool:
        """Whether a sheet of this size may be made."""
        return max(width, height) <= self.side and width * height <= self.pixels


@dataclass(frozen=True)
class Page:
    """Which part of the content is on one sheet, and how long the longer side of an image is."""

    blocks: range
    rows: range
    columns: range
    tile: int


def wrap_text(
    text: str, width: int, measure: Measure, max_lines: int
) -> tuple[tuple[str, ...], bool]:
    """Break a text into lines of at most `width` pixels; say whether some of it was left out.

    Words that are longer than a line are broken; a line that does not end the text ends in ``…``.
    """
    lines: list[str] = []
    line = ""
    for part in _parts(text, width, measure):
        candidate = f"{line}{part}"
        if measure(candidate.rstrip()) <= width:
            line = candidate
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = part.lstrip()
        if len(lines) > max_lines:
            break
    if line.strip():
        lines.append(line.rstrip())
    if len(lines) <= max_lines:
        return tuple(lines), False
    last = lines[max_lines - 1]
    while last and measure(f"{last}…") > width:
        last = last[:-1]
    ending = f"{last}…"
    return (*lines[: max_lines - 1], ending if measure(ending) <= width else ""), True


def _parts(text: str, width: int, measure: Measure) -> Iterator[str]:
    """Iterate words with the blank behind them, and the pieces of those that fit no line."""
    for word in " ".join(text.split()).split(" "):
        if measure(word) <= width:
            yield f"{word} "
            continue
        piece = ""
        for char in word:
            fitting = char if measure(char) <= width else NO_FONT
            if measure(fitting) > width:
                continue
            if piece and measure(piece + fitting) > width:
                yield _broken(piece)
                piece = _rest_of(piece)
            piece += fitting
        yield f"{piece} "


def _broken(piece: str) -> str:
    """Return as much of a piece as ends in a place to break at; all of it without one."""
    cut = _cut(piece)
    return piece[:cut]


def _rest_of(piece: str) -> str:
    return piece[_cut(piece) :]


def _cut(piece: str) -> int:
    # File names are easier to read when they break behind a stop, if that is not far away.
    for index in range(len(piece), len(piece) * 2 // 3, -1):
        if piece[index - 1] in "_-/.,:":
            return index
    return len(piece)


class _Scale:
    """The sizes of a sheet's parts, which follow from the height of a line and of an image."""

    def __init__(self, line_height: int, tile: int, content: SheetContent) -> None:
        shape = content.tile
        width, height = max(shape[0], 1), max(shape[1], 1)
        # Nothing is so narrow that it can't be labelled.
        ratio = min(max(width / height, 1 / 3), 3.0)
        self.tile = (
            (tile, max(round(tile / ratio), 1)) if ratio >= 1 else (round(tile * ratio), tile)
        )
        self.line = line_height
        self.margin = max(line_height * 5 // 4, 12)
        self.inner = max(tile // 64, 2)
        # What belongs to one place stands closer together than the places.
        self.gap = max(tile // 32, 4) + (line_height // 2 if content.per_slot > 1 else 0)
        self.space = line_height * 2


@dataclass(frozen=True)
class _Texts:
    """All labels of a sheet, wrapped for their places."""

    columns: list[tuple[str, ...]]
    rows: list[tuple[str, ...]]
    blocks: list[tuple[str, ...]]
    legend: list[str]
    gutter: int


def lay_out(content: SheetContent, metrics: Metrics, tile: int) -> SheetLayout:
    """Return where everything is.

    Parameters
    ----------
    content : SheetContent
        What the sheet shows.
    metrics : Metrics
        The sizes of its texts.
    tile : int
        How long the longer side of an image is, in pixels.

    Returns
    -------
    SheetLayout
        No label overlaps another or an image, and all are on the sheet.
    """
    return _Drafted(content, metrics, tile).whole()


def sheet_size(content: SheetContent, metrics: Metrics, tile: int) -> tuple[int, int]:
    """Return how wide and high a sheet would be, in pixels."""
    draft = _Drafted(content, metrics, tile)
    return draft.width, draft.height


class _Drafted:
    """A sheet whose size is known; its labels and places are calculated when they are wanted."""

    def __init__(self, content: SheetContent, metrics: Metrics, tile: int) -> None:
        self.content = content
        self.metrics = metrics
        self.scale = scale = _Scale(metrics.line, tile, content)
        self.per_row, self.slot = _slot_size(content, scale)
        self.texts = texts = _wrapped(content, metrics.measure, scale, self.slot[0])
        self.names = self._named()
        head = max((len(lines) for lines in texts.columns), default=0) * scale.line
        head = max(head + scale.line * len(self.names["x"]), scale.line * len(self.names["y"]))
        self.head = head + scale.gap if head else 0
        heading = max((len(lines) for lines in texts.blocks), default=0) * scale.line
        self.heading = heading + scale.gap if heading else 0
        self.gutter = texts.gutter + scale.gap * 2 if texts.gutter else 0
        self.block = (
            self.gutter + len(content.columns) * (self.slot[0] + scale.gap) - scale.gap,
            self.heading + self.head + len(content.rows) * (self.slot[1] + scale.gap) - scale.gap,
        )
        across, down = (side + scale.space for side in self.block)
        self.across = _across(len(content.blocks), across, down)
        self.inside = max(self.across * across - scale.space, scale.line * 12)
        self.top_labels, self.top = self._top()
        rows = -(-len(content.blocks) // self.across)
        self.legend_labels, bottom = self._legend(self.top + rows * down - scale.space)
        self.width = self.inside + 2 * scale.margin
        self.height = bottom + scale.margin

    def _named(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the axes, each a line where there is a place for it."""
        content, measure = self.content, self.metrics.measure
        across = len(content.columns) * (self.slot[0] + self.scale.gap) - self.scale.gap
        return {
            "x": wrap_text(content.x_name, across, measure, 1)[0],
            "y": wrap_text(content.y_name, self.texts.gutter, measure, 1)[0],
        }

    def _top(self) -> tuple[list[Label], int]:
        """Return title and facts, and where the images begin."""
        scale, metrics = self.scale, self.metrics
        y = scale.margin
        labels: list[Label] = []
        for kind, text, measure, line, most in (
            ("title", self.content.title, metrics.measure_title, metrics.title_line, 2),
            ("fact", self.content.facts, metrics.measure, scale.line, 4),
        ):
            lines, _ = wrap_text(text, self.inside, measure, most)
            if lines:
                box = Box(scale.margin, y, self.inside, len(lines) * line)
                labels.append(Label(box, lines, kind))
                y = box.bottom
        return labels, y + scale.line if labels else y

    def _legend(self, bottom: int) -> tuple[list[Label], int]:
        """Return the whole texts of labels that were cut, and where the last of them ends."""
        labels: list[Label] = []
        for text in self.texts.legend:
            lines, _ = wrap_text(text, self.inside, self.metrics.measure, MAX_LEGEND_LINES)
            y = bottom + self.scale.gap * 2
            box = Box(self.scale.margin, y, self.inside, len(lines) * self.scale.line)
            labels.append(Label(box, lines, "legend"))
            bottom = box.bottom
        return labels, bottom

    def whole(self) -> SheetLayout:
        """Return the sheet with everything on it."""
        labels, slots = list(self.top_labels), []
        for block in range(len(self.content.blocks)):
            x = self.scale.margin + block % self.across * (self.block[0] + self.scale.space)
            y = self.top + block // self.across * (self.block[1] + self.scale.space)
            labels += self._block_labels(block, x, y)
            for slot in self._slots(block, x + self.gutter, y + self.heading + self.head):
                slots.append(slot)
                labels += self._caption(slot)
        labels += self.legend_labels
        return SheetLayout(self.width, self.height, tuple(labels), tuple(slots), self.scale.tile)

    def _block_labels(self, block: int, x: int, y: int) -> Iterator[Label]:
        texts, scale = self.texts, self.scale
        left, top = x + self.gutter, y + self.heading + self.head
        if texts.blocks and texts.blocks[block]:
            lines = texts.blocks[block]
            yield Label(Box(x, y, self.block[0], len(lines) * scale.line), lines, "heading")
        if self.names["x"]:
            box = Box(left, y + self.heading, self.block[0] - self.gutter, scale.line)
            yield Label(box, self.names["x"], "axis")
        if self.names["y"]:
            box = Box(x, top - scale.gap - scale.line, texts.gutter, scale.line)
            yield Label(box, self.names["y"], "axis", "right")
        for column, lines in enumerate(texts.columns):
            height = len(lines) * scale.line
            at = left + column * (self.slot[0] + scale.gap)
            if lines:
                box = Box(at, top - scale.gap - height, self.slot[0], height)
                yield Label(box, lines, "column", "center")
        for row, lines in enumerate(texts.rows):
            height = len(lines) * scale.line
            at = top + row * (self.slot[1] + scale.gap) + max(scale.tile[1] - height, 0) // 2
            if lines:
                yield Label(Box(x, at, texts.gutter, height), lines, "row", "right")

    def _slots(self, block: int, left: int, top: int) -> Iterator[Slot]:
        content, scale = self.content, self.scale
        caption = _caption_height(content, scale)
        for row in range(len(content.rows)):
            for column in range(len(content.columns)):
                for number in range(max(content.per_slot, 1)):
                    x = left + column * (self.slot[0] + scale.gap)
                    x += number % self.per_row * (scale.tile[0] + scale.inner)
                    y = top + row * (self.slot[1] + scale.gap)
                    y += number // self.per_row * (scale.tile[1] + caption + scale.inner)
                    yield Slot(Box(x, y, *scale.tile), block, row, column, number)

    def _caption(self, slot: Slot) -> Iterator[Label]:
        if not self.content.caption_lines:
            return
        text = self.content.captions(slot.block, slot.row, slot.column, slot.number)
        width = slot.box.width
        lines, _ = wrap_text(text, width, self.metrics.measure, self.content.caption_lines)
        if lines:
            height = len(lines) * self.scale.line
            box = Box(slot.box.x, slot.box.bottom + self.scale.inner, width, height)
            yield Label(box, lines, "caption", "center")


def _caption_height(content: SheetContent, scale: _Scale) -> int:
    return content.caption_lines * scale.line + scale.inner if content.caption_lines else 0


def _slot_size(content: SheetContent, scale: _Scale) -> tuple[int, tuple[int, int]]:
    """Return how many images are beside each other at one place, and how large that is."""
    count = max(content.per_slot, 1)
    per_row = count if count <= 3 else math.ceil(math.sqrt(count))
    down = -(-count // per_row)
    caption = _caption_height(content, scale)
    width = per_row * (scale.tile[0] + scale.inner) - scale.inner
    return per_row, (width, down * (scale.tile[1] + caption + scale.inner) - scale.inner)


def _wrapped(content: SheetContent, measure: Measure, scale: _Scale, column: int) -> _Texts:
    legend: list[str] = []

    def wrapped(text: str, width: int, lines: int) -> tuple[str, ...]:
        found, cut = wrap_text(text, width, measure, lines)
        if cut and len(legend) < MAX_LEGEND:
            note = f" [{len(legend) + 1}]"
            noted, _ = wrap_text(text, max(width - measure(note), 1), measure, lines)
            if noted and measure(noted[-1] + note) <= width:
                legend.append(f"[{len(legend) + 1}] {' '.join(text.split())}")
                found = (*noted[:-1], noted[-1] + note)
        return found

    widest = max((measure(text) for text in content.rows), default=0)
    limit = max(column, scale.line * 6)
    gutter = min(max(widest, measure(content.y_name)), limit) if widest else 0
    room = max(scale.tile[1] // scale.line, 1)
    columns = [wrapped(text, column, MAX_LABEL_LINES) for text in content.columns]
    rows = [wrapped(text, limit, min(room, 12)) for text in content.rows]
    width = (gutter + 2 * scale.gap if gutter else 0) + len(columns) * (column + scale.gap)
    blocks = [wrapped(text, width - scale.gap, MAX_HEADING_LINES) for text in content.blocks]
    return _Texts(
        columns if any(columns) else [], rows if any(rows) else [],
        blocks if any(blocks) else [], legend, gutter if any(rows) else 0,
    )  # fmt: skip


def _across(count: int, width: int, height: int) -> int:
    """Return how many blocks stand side by side, for a sheet of a common shape."""

    def deviation(across: int) -> float:
        down = -(-count // across)
        return abs(math.log(across * width / (down * height) / _SHAPE))

    # Of a hundred thousand blocks nobody sees the shape: a few guesses are enough.
    guess = math.sqrt(count * height * _SHAPE / width)
    nearby = {math.floor(guess), math.ceil(guess), 1, count}
    return min((n for n in sorted(nearby) if 1 <= n <= count), key=deviation, default=1)


def paginate(content: SheetContent, metrics: Metrics, tile: int, limits: Limits) -> list[Page]:
    """Divide a content among sheets that are within the limits.

    First the images get smaller, down to 96 pixels; then blocks, rows and at last columns are
    divided among several sheets.

    Parameters
    ----------
    content : SheetContent
        All of it.
    metrics : Metrics
        The sizes of its texts.
    tile : int
        How long the longer side of an image is, in pixels, if there is space.
    limits : Limits
        What one sheet may have.

    Returns
    -------
    list of Page
        In order; all of the content is on one of them.
    """
    whole = Page(
        range(len(content.blocks)), range(len(content.rows)), range(len(content.columns)), tile
    )

    def fits(page: Page) -> bool:
        return limits.allow(*sheet_size(part_of(content, page), metrics, page.tile))

    smallest = min(tile, MIN_TILE)
    if fits(replace(whole, tile=smallest)):
        low, high = smallest, tile
        while low < high:  # the largest that fits
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(replace(whole, tile=middle)) else (low, middle - 1)
        return [replace(whole, tile=low)]
    side = max(min(tile, 2 * MIN_TILE), smallest)
    steps = [len(whole.blocks), len(whole.rows), len(whole.columns)]
    while True:
        page = Page(range(steps[0]), range(steps[1]), range(steps[2]), side)
        if fits(page) or steps == [1, 1, 1]:
            break
        index = next(index for index in range(3) if steps[index] > 1)
        steps[index] = -(-steps[index] // 2)
    return [
        Page(blocks, rows, columns, side)
        for blocks in _chunks(whole.blocks, steps[0])
        for rows in _chunks(whole.rows, steps[1])
        for columns in _chunks(whole.columns, steps[2])
    ]


def _chunks(whole: range, step: int) -> Iterator[range]:
    for start in range(0, len(whole), step):
        yield whole[start : start + step]


def part_of(content: SheetContent, page: Page) -> SheetContent:
    """Return the part of a content that is on a page."""
    blocks, rows, columns = page.blocks, page.rows, page.columns

    def captions(block: int, row: int, column: int, number: int) -> str:
        return content.captions(blocks[block], rows[row], columns[column], number)

    return replace(
        content,
        blocks=[content.blocks[index] for index in blocks],
        rows=[content.rows[index] for index in rows],
        columns=[content.columns[index] for index in columns],
        captions=captions,
    )
