"""Static HTML that shows without a kernel and without scripts. Everything in it is escaped.

The layout that matters is in ``style`` attributes, since some hosts strip style sheets; the
sheet adds themes and polish. Colours follow JupyterLab's variables, and where there are none
they are made from the colour of the surrounding text, so that light and dark pages both work.
"""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "Card",
    "base64_text",
    "clean",
    "clip",
    "data_table",
    "data_uri",
    "duration",
    "escape",
    "gallery",
    "parameter_rows",
    "parameter_table",
    "relative_href",
    "wrap",
]

MAX_PROMPT = 2000
MAX_VALUE = 300
MAX_ROWS = 40
_SHORT = 16
SHOWN_SIDE = 440
#: Between what stands apart only by its style: seen where styles are taken away.
_APART = '<span style="display:none"> · </span>'

_CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    # Strings for the terminal, such as a title or the clipboard, with what is in them.
    r"|(?:\x1b[\]P^_X]|[\x9d\x90\x9e\x9f\x98])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
#: Halves of characters, which nothing that is shown or sent can hold.
_HALVES = re.compile("[\ud800-\udfff]")

#: The order in which people look for them; all others come behind, as recorded.
_FIRST = (
    "prompt",
    "negative_prompt",
    "style_selections",
    "performance_selection",
    "aspect_ratios_selection",
    "overwrite_width",
    "overwrite_height",
    "overwrite_step",
    "image_seed",
    "base_model",
    "refiner_model",
    "refiner_switch",
    "loras",
    "guidance_scale",
    "sharpness",
    "sampler_name",
    "scheduler_name",
    "vae_name",
    "output_format",
)
_NOTHING: tuple[object, ...] = ("", "None", "Disabled", -1, [], ())
#: What says nothing about a single image.
_NOT_OF_AN_IMAGE = ("image_number", "current_tab")
#: A slot says nothing while what it holds is not set.
_SLOT = re.compile(r"(?P<slot>(?:lora|ip|enhance)_\d+)_")
_SLOT_HOLDS = {"lora": "model", "ip": "image", "enhance": "enabled"}

_SHEET = """
.fnb{font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.45;
color:var(--jp-ui-font-color1,inherit);text-align:left}
.fnb-dim{color:var(--jp-ui-font-color2,color-mix(in srgb,currentColor 68%,transparent))}
.fnb-mono{font-family:var(--jp-code-font-family,ui-monospace,monospace);
font-variant-numeric:tabular-nums}
.fnb figure{border:1px solid var(--jp-border-color2,rgba(128,128,128,.3));
background:var(--jp-layout-color1,transparent);transition:border-color .15s,box-shadow .15s}
.fnb figure:hover{border-color:var(--jp-brand-color1,#1976d2);
box-shadow:0 2px 10px rgba(0,0,0,.14)}
.fnb a:focus-visible,.fnb summary:focus-visible{outline:2px solid var(--jp-brand-color1,#1976d2);
outline-offset:2px}
.fnb details{border-top:1px solid var(--jp-border-color2,rgba(128,128,128,.25))}
.fnb summary:hover{color:var(--jp-brand-color1,#1976d2)}
.fnb table.fnb-table{border-collapse:collapse;border:0;margin:0;font-size:12px;width:auto}
.fnb table.fnb-table tr,.fnb table.fnb-table tbody tr:nth-child(odd){background:transparent}
.fnb table.fnb-table th,.fnb table.fnb-table td{border:0;padding:2px 16px 2px 0;
text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere}
.fnb table.fnb-table th{font-weight:400;white-space:nowrap;
color:var(--jp-ui-font-color2,color-mix(in srgb,currentColor 68%,transparent))}
.fnb table.fnb-data th[scope=row]{color:inherit}
.fnb table.fnb-data thead th{position:sticky;top:0;background:var(--jp-layout-color0,transparent);
border-bottom:1px solid var(--jp-border-color2,rgba(128,128,128,.3))}
.fnb table.fnb-data tbody tr:hover{background:var(--jp-layout-color2,rgba(128,128,128,.12))}
"""


@dataclass(frozen=True)
class Card:
    """One image of a gallery.

    Attributes
    ----------
    thumbnail : bytes
        WebP data; empty where the file is gone.
    size : tuple of (int, int)
        The thumbnail's width and height.
    seed : int or None
        What made it, where that is known.
    path : Path
        The original.
    href : str
        Where the original is, seen from the notebook; empty where there is no way.
    note : str
        What stands at the other end of the caption, such as the original's size.
    varied : str
        In which parameters it differs from the others; a line of its own, empty where in none.
    sha256 : str
        Of the original, by which a saved notebook tells which images it shows.
    """

    thumbnail: bytes = field(repr=False)
    size: tuple[int, int]
    seed: int | None
    path: Path
    href: str = ""
    note: str = ""
    varied: str = ""
    sha256: str = ""


def clean(text: object) -> str:
    """Return text without terminal colours and without characters that steer a screen."""
    return _HALVES.sub("\ufffd", _CONTROL.sub("", str(text)))


def clip(text: object, limit: int = MAX_VALUE) -> str:
    """Return cleaned text of `limit` characters at the most."""
    cleaned = clean(str(text)[: 4 * limit])
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def escape(text: object, limit: int = MAX_VALUE) -> str:
    """Return text for HTML, cleaned, clipped and escaped."""
    return html.escape(clip(text, limit), quote=True)


def duration(seconds: float) -> str:
    """Return a time for people, such as ``8.3 s``, ``2:05 min`` or ``1:02:05 h``."""
    if seconds < 60:
        return f"{max(seconds, 0.0):.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h"


def data_uri(data: bytes, mime: str) -> str:
    """Return bytes as a data URI."""
    return f"data:{mime};base64,{base64_text(data)}"


def base64_text(data: bytes) -> str:
    """Return bytes as base64 text, as a MIME bundle holds them."""
    return base64.b64encode(data).decode("ascii")


def relative_href(path: Path, base: Path) -> str:
    """Return the link to a file below `base`, quoted so that no name can become a scheme."""
    try:
        inside = path.relative_to(base)
    except ValueError:
        return ""
    return "./" + quote(inside.as_posix())


def parameter_rows(parameters: Mapping[str, Any], limit: int = MAX_VALUE) -> list[tuple[str, str]]:
    """Return the parameters worth showing, the known ones first, as names and plain texts.

    Parameters
    ----------
    parameters : mapping
        By canonical name.
    limit : int, optional
        How many characters of a value are shown. Default 300.

    Returns
    -------
    list of (str, str)
        Forty at the most; those that are empty or off are left out.
    """
    names = [name for name in _FIRST if name in parameters]
    names += [name for name in parameters if name not in _FIRST]
    return [
        (name, clip(_shown(parameters[name]), limit))
        for name in names
        if not _is_off(parameters[name]) and not _is_idle(name, parameters)
    ][:MAX_ROWS]


def _is_off(value: object) -> bool:
    return value is None or value is False or value in _NOTHING


def _is_idle(name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a parameter has no part in the image: it steers what is not used."""
    slot = _SLOT.match(name)
    if slot is None:
        return name in _NOT_OF_AN_IMAGE
    holder = f"{slot['slot']}_{_SLOT_HOLDS[name.partition('_')[0]]}"
    return holder in parameters and _is_off(parameters[holder])


def _shown(value: object) -> str:
    if isinstance(value, str):
        return re.sub(r"<[^>]{0,80}>", "", value) if "<span" in value else value
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(item) for item in value)
    return str(value)


def parameter_table(rows: Iterable[tuple[str, str]]) -> str:
    """Return names and values as an HTML table."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table class="fnb-table"><tbody>{body}</tbody></table>'


def _unbroken(text: str) -> str:
    """Keep a short word in one line, which a narrow column would break."""
    return "" if len(text) > _SHORT or " " in text else ";white-space:nowrap"


def data_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", height: str = ""
) -> str:
    """Return rows under their headings as an HTML table; what is in the first column are names.

    Parameters
    ----------
    headings : sequence of str
        One for each column; all empty ones make a table without a head.
    rows : iterable of sequence of str
        The texts, each of :data:`MAX_VALUE` characters at the most.
    title : str, optional
        What stands above it.
    height : str, optional
        As CSS has it: where to begin scrolling.

    Returns
    -------
    str
        HTML; :func:`wrap` puts the style sheet beside it.
    """
    cell = "text-align:left;vertical-align:top;padding:3px 18px 3px 0"

    def cells(row: Sequence[str]) -> str:
        name, *others = row
        return f'<th scope="row" class="fnb-mono" style="{cell}">{escape(name)}</th>' + "".join(
            f'<td style="{cell}{_unbroken(other)}">{escape(other)}</td>' for other in others
        )

    head = "".join(
        f'<th scope="col" class="fnb-head" style="{cell}">{escape(word)}</th>' for word in headings
    )
    caption = f'<div style="font-weight:600;margin-bottom:4px">{escape(title)}</div>'
    scroll = 'style="overflow-x:auto"'
    if height:  # what scrolls must be within reach of the keyboard
        scroll = (
            f'style="max-height:{height};overflow:auto" tabindex="0" role="region" '
            f'aria-label="{escape(title)}"'
        )
    return (
        f'{caption if title else ""}<div {scroll}><table class="fnb-table fnb-data">'
        f"{f'<thead><tr>{head}</tr></thead>' if any(headings) else ''}"
        f"<tbody>{''.join(f'<tr>{cells(row)}</tr>' for row in rows)}</tbody></table></div>"
    )


def wrap(*parts: str, sheet: str = "", label: str = "Fooocus") -> str:
    """Return the outermost element of an output, with its style sheet."""
    styles = re.sub(r"\s*\n\s*", "", _SHEET + sheet)
    return (
        f"<style>{styles}</style>"
        f'<div class="fnb" role="group" aria-label="{escape(label)}">{"".join(parts)}</div>'
    )


def gallery(
    cards: Sequence[Card], *, title: str, facts: Sequence[str], rows: Sequence[tuple[str, str]]
) -> str:
    """Return a grid of images with their captions, and the parameters in a fold-out.

    Parameters
    ----------
    cards : sequence of Card
        The images.
    title : str
        What heads it: the prompt.
    facts : sequence of str
        What stands in the line below.
    rows : sequence of (str, str)
        The parameters.

    Returns
    -------
    str
        HTML.
    """
    head = (
        '<div style="margin:2px 0 8px">'
        '<div style="font-weight:600;white-space:pre-wrap;overflow-wrap:anywhere;'
        f'max-height:6em;overflow:auto">{escape(title, MAX_PROMPT)}</div>'
        f'<div class="fnb-dim" style="font-size:12px">{" · ".join(escape(f) for f in facts)}</div>'
        "</div>"
    )
    fewer = 1 if len(cards) == 1 else 2 if len(cards) in (2, 4) else 3
    tall = bool(cards) and cards[0].size[1] > 1.1 * cards[0].size[0]
    widest = {1: 340, 2: 580, 3: 1000} if tall else {1: 440, 2: 720, 3: 1000}
    grid = (
        '<div style="display:grid;gap:12px;align-items:start;'
        f"max-width:{widest[fewer]}px;"
        "grid-template-columns:repeat(auto-fill,minmax(min(100%,"
        f'{ {1: 300, 2: 240, 3: 200}[fewer] }px),1fr))">'
        f"{''.join(_figure(card) for card in cards)}</div>"
    )
    fold = (
        '<details style="margin-top:10px;padding-top:6px;max-width:1000px">'
        '<summary class="fnb-dim" style="cursor:pointer;font-size:12px">Parameters</summary>'
        f'<div style="padding:6px 0 2px;overflow:auto">{parameter_table(rows)}</div></details>'
    )
    return wrap(head, grid if cards else "", fold if rows else "", label="Fooocus result")


def _figure(card: Card) -> str:
    # What counts where no style sheet and no style is let through, as on some code hosts.
    scale = min(1.0, SHOWN_SIDE / max(*card.size, 1))
    width, height = (max(round(side * scale), 1) for side in card.size)
    if card.thumbnail:
        told = f"made with seed {card.seed}" if card.seed is not None else card.path.name
        alt = escape(f"Image {told}", 100)
        shown = (
            f'<img src="{data_uri(card.thumbnail, "image/webp")}" alt="{alt}" width="{width}" '
            f'height="{height}" style="display:block;width:100%;height:auto;margin:0">'
        )
    else:
        shown = (
            '<div class="fnb-dim" style="padding:40px 12px;text-align:center">'
            "The file is no longer there.</div>"
        )
    if card.href:
        shown = (
            f'<a href="{escape(card.href, 2000)}" target="_blank" rel="noopener" '
            f'title="{escape("Open " + card.path.name)}" style="display:block">{shown}</a>'
        )
    mark = f' data-sha256="{escape(card.sha256)}"' if card.sha256 else ""
    return (
        f'<figure{mark} style="margin:0;border-radius:8px;overflow:hidden">'
        f"{shown}"
        '<figcaption style="display:flex;flex-wrap:wrap;justify-content:space-between;'
        'gap:0 8px;padding:5px 9px;font-size:12px" class="fnb-dim">'
        f'<span style="white-space:nowrap">{_named(card)}</span>'
        f"{_APART}"
        f'<span style="white-space:nowrap">{escape(card.note)}</span>'
        f"{_varied(card)}</figcaption></figure>"
    )


def _varied(card: Card) -> str:
    if not card.varied:
        return ""
    style = "flex-basis:100%;overflow-wrap:anywhere"
    return f'{_APART}<span style="{style}">{escape(card.varied, 300)}</span>'


def _named(card: Card) -> str:
    if card.seed is None:
        return escape(card.path.name, 40)
    return f'seed <span class="fnb-mono">{card.seed}</span>'
