"""Parses the outputs of the generator: progress, previews and galleries."""

from __future__ import annotations

import base64
import binascii
import html
import re
from typing import TYPE_CHECKING, Any, Final

from fooocus_nb.fooocus.events import Preview, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ABSENT",
    "WAITING_FOR_WORKER",
    "gallery_paths",
    "parse_preview",
    "parse_progress",
    "updated_value",
]


class _Absent:
    """The type of `ABSENT`."""

    def __repr__(self) -> str:
        return "ABSENT"


#: Stands for an output that the server left as it was.
ABSENT: Final = _Absent()

#: How the progress text begins from when a task is queued until the worker starts it.
WAITING_FOR_WORKER: Final = "Waiting for task to start"
#: Progress texts are short; longer ones are cut.
_TEXT_LIMIT = 500

# Each pattern excludes "<" inside a tag, so that no text makes it backtrack over and over.
_BAR = re.compile(r"<progress\b([^<>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\b(value|max)\s*=\s*["']?\s*(\d{1,9}(?:\.\d{1,9})?)""", re.IGNORECASE)
_SPAN = re.compile(r"<span\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_STEP = re.compile(r"\bstep\s+(\d{1,9})\s*/\s*(\d{1,9})\b", re.IGNORECASE)
_IMAGE = re.compile(r"\b(?:image|task)\s+(\d{1,9})\s*/\s*(\d{1,9})\b", re.IGNORECASE)
_ORDINAL = re.compile(r"\bin the (\d{1,9})(?:st|nd|rd|th) sampling\b", re.IGNORECASE)
_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^,;]*)*;base64,", re.IGNORECASE)


def updated_value(output: object) -> Any:
    """Return the value that an output of the server carries."""
    if isinstance(output, dict) and output.get("__type__") == "update":
        return output.get("value", ABSENT)
    return output


def parse_progress(value: object) -> Progress | None:
    """Parse the progress bar."""
    if not isinstance(value, str) or (bar := _BAR.search(value)) is None:
        return None
    numbers = {name.lower(): float(number) for name, number in _ATTRIBUTE.findall(bar[1])}
    top = numbers.get("max", 1.0)
    share = numbers.get("value", 0.0) / top if top > 0 else 0.0
    text = _text_after(value, bar.end())
    step, steps = _pair(_STEP, text)
    image, images = _pair(_IMAGE, text)
    if image is None and (ordinal := _ORDINAL.search(text)) is not None:
        image = int(ordinal[1])
    return Progress(
        percent=min(100, round(100 * share)),
        text=text,
        step=step,
        steps=steps,
        image=image,
        images=images,
    )


def _text_after(page: str, start: int) -> str:
    """Return the text of the first span, as a person would read it."""
    opening = _SPAN.search(page, start)
    if opening is None:
        return ""
    end = page.find("</span", opening.end())
    # Ten times the limit, because tags and entities shrink.
    rough = page[opening.end() : None if end < 0 else end][: 10 * _TEXT_LIMIT]
    return " ".join(html.unescape(_TAG.sub("", rough)).split())[:_TEXT_LIMIT]


def _pair(pattern: re.Pattern[str], text: str) -> tuple[int | None, int | None]:
    found = pattern.search(text)
    return (int(found[1]), int(found[2])) if found else (None, None)


def parse_preview(value: object) -> Preview | None:
    """Parse the preview of the current image."""
    if not isinstance(value, str) or (head := _DATA_URI.match(value)) is None:
        return None
    try:
        data = base64.b64decode(value[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Preview(data, head[1].lower()) if data else None


def gallery_paths(value: object) -> tuple[str, ...]:
    """Return the server's paths of the images in a gallery."""
    if not isinstance(value, (list, tuple)):
        return ()
    return tuple(dict.fromkeys(_paths_of(value)))


def _paths_of(entries: list[Any] | tuple[Any, ...]) -> Iterator[str]:
    for entry in entries:
        file = entry[0] if isinstance(entry, (list, tuple)) and entry else entry
        if isinstance(file, dict) and isinstance(file.get("image"), dict):
            file = file["image"]  # Gradio 4 and later
        if isinstance(file, dict):
            file = file.get("name") or file.get("path")
        if isinstance(file, str) and file and not file.startswith("data:"):
            yield file
