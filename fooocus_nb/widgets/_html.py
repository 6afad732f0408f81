"""The monitor as static HTML and as one line of text. Everything in it is escaped."""

from __future__ import annotations

from dataclasses import dataclass, field

from fooocus_nb._html import clip, data_uri, duration, escape, wrap

__all__ = [
    "View",
    "images_text",
    "kept_html",
    "monitor_html",
    "monitor_text",
    "note",
    "note_html",
    "page",
]

MAX_THUMBNAILS = 8
BOX_WIDTH = 208
BOX_MAX_HEIGHT = 264

_SHEET = """
.fnb-monitor{border:1px solid var(--jp-border-color2,rgba(128,128,128,.3));
background:var(--jp-layout-color1,transparent)}
.fnb-box{background:var(--jp-layout-color2,rgba(128,128,128,.12))}
.fnb-track{background:var(--jp-layout-color3,rgba(128,128,128,.28))}
.fnb-fill{background:var(--jp-brand-color1,#1976d2)}
.fnb-wait{background:linear-gradient(90deg,transparent,var(--jp-brand-color1,#1976d2),transparent)}
.fnb-now{color:var(--jp-brand-color1,#1976d2)}
.fnb-ok{color:var(--jp-success-color1,#2e9e44)}
.fnb-bad{color:var(--jp-error-color1,#d84a3a)}
.fnb-warn{color:var(--jp-warn-color1,#c77700)}
@media (prefers-reduced-motion:no-preference){
.fnb-wait{animation:fnb-wait 1.6s ease-in-out infinite}
@keyframes fnb-wait{from{transform:translateX(-100%)}to{transform:translateX(330%)}}}
"""

#: The fallback appears late, so that nothing jumps while a widget is loaded. The last rule hides
#: JupyterLab's own "Error displaying widget" above it.
_KEPT = (
    ".fnb-kept{animation:fnb-kept 0s .8s both}"
    "@keyframes fnb-kept{from{max-height:0;overflow:hidden}to{max-height:none}}"
    ".jp-OutputArea-child:has(.fnb-widget,.fnb-mask)+.jp-OutputArea-child:has(.fnb-kept){display:none}"
    ".jp-OutputArea-child:has(>.jupyter-widgets):not(:has(.fnb-widget,.fnb-mask))"
    ":has(+.jp-OutputArea-child .fnb-kept){display:none}"
)
#: Elsewhere, as in VS Code and Colab, a fallback is hidden while its own widget is on the page. VS
#: Code asks for a widget before the kernel has it, and then shows raw JSON in its place for good
#: (microsoft/vscode-jupyter#17518): there the fallback is all that is seen.
_KEPT_ELSEWHERE = ":root:has(.{view}) .{view}-kept:not(.jp-OutputArea-child *){{display:none}}"


@dataclass(frozen=True)
class View:
    """The content of a monitor at one moment."""

    title: str
    stage: str
    #: None where nobody can tell: then the bar only moves.
    percent: int | None = None
    facts: tuple[str, ...] = ()
    elapsed: float = 0.0
    remaining: float | None = None
    line: str = ""
    #: The size of the image in the making, for the preview's box; None shows no box.
    box: tuple[int, int] | None = None
    preview: bytes = field(default=b"", repr=False)
    thumbnails: tuple[bytes, ...] = field(default=(), repr=False)
    #: Whether to show thumbnails, and to reserve their row from the beginning.
    several: bool = False
    #: The stages of a start, each with ``done``, ``now`` or ``next``.
    stages: tuple[tuple[str, str], ...] = ()
    #: The colour of the dot before the stage: ``ok``, ``warn`` or ``bad``; empty for no dot.
    mark: str = ""
    #: Whether the engine is idle, so that there is neither a bar nor a clock.
    still: bool = False

    @property
    def times(self) -> str:
        """The elapsed and the remaining time, for people."""
        text = f"{duration(self.elapsed)} elapsed"
        return text if self.remaining is None else f"{text}, about {duration(self.remaining)} left"


def box_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size in CSS pixels of the box that is reserved for a preview."""
    width, height = max(size[0], 1), max(size[1], 1)
    scale = min(BOX_WIDTH / width, BOX_MAX_HEIGHT / height)
    return max(round(width * scale), 24), max(round(height * scale), 24)


def monitor_html(view: View) -> str:
    """Return the monitor as HTML."""
    return wrap(
        '<div class="fnb-monitor" style="display:flex;flex-wrap:wrap;gap:14px;padding:10px 12px;'
        'border-radius:8px;max-width:760px;box-sizing:border-box">',
        _box(view),
        '<div style="flex:1 1 260px;min-width:0;display:flex;flex-direction:column;gap:6px">',
        '<div style="font-weight:600;white-space:nowrap;overflow:hidden;text-overflow:ellipsis">',
        escape(" ".join(view.title.split()) or "(no prompt)", 160),
        "</div>",
        _stages(view),
        _status(view),
        "" if view.still else _bar(view.percent),
        ""
        if view.still
        else f'<div class="fnb-dim fnb-mono" style="font-size:12px">{escape(view.times)}</div>',
        '<div class="fnb-dim fnb-mono" style="font-size:11px;white-space:nowrap;overflow:hidden;'
        f'text-overflow:ellipsis;min-height:1.5em">{escape(view.line, 160)}</div>',
        _thumbnails(view),
        "</div></div>",
        sheet=_SHEET,
        label="Fooocus progress",
    )


def _box(view: View) -> str:
    """Return the preview in its box, which is there from the beginning so that nothing jumps."""
    if view.box is None:
        return ""
    width, height = box_size(view.box)
    image = ""
    if view.preview:
        # Decoded at once, or the image would flicker with every update.
        image = (
            f'<img src="{data_uri(view.preview, "image/jpeg")}" alt="Preview" decoding="sync" '
            f'width="{width}" height="{height}" style="display:block;width:100%;height:100%;'
            'object-fit:contain;margin:0">'
        )
    return (
        f'<div class="fnb-box" style="flex:none;width:{width}px;height:{height}px;'
        f'border-radius:6px;overflow:hidden">{image}</div>'
    )


def _stages(view: View) -> str:
    """Return the stages of a start, with the finished and the current ones marked."""
    if not view.stages:
        return ""
    signs = {"done": "✓", "now": "●", "next": "○"}
    colours = {"done": "fnb-ok", "now": "fnb-now", "next": "fnb-dim"}
    current = {"now": ' aria-current="step"'}
    items = "".join(
        f'<li{current.get(state, "")} style="display:flex;gap:5px;align-items:baseline;margin:0">'
        f'<span class="{colours[state]}" aria-hidden="true">{signs[state]}</span>'
        f'<span class="{"" if state == "now" else "fnb-dim"}">{escape(title)}</span></li>'
        for title, state in view.stages
    )
    return (
        '<ol aria-label="Stages" style="display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;'
        f'margin:0;padding:0;font-size:12px">{items}</ol>'
    )


def _mark(mark: str) -> str:
    return f'<span class="fnb-{mark}" aria-hidden="true">● </span>' if mark else ""


def _status(view: View) -> str:
    facts = "".join(
        f'<span class="fnb-dim fnb-mono" style="font-size:12px">{escape(fact)}</span>'
        for fact in view.facts
    )
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:0 12px;align-items:baseline;min-height:1.5em">'
        f'<span role="status">{_mark(view.mark)}{escape(view.stage, 160)}</span>{facts}</div>'
    )


def _bar(percent: int | None) -> str:
    if percent is None:
        value, fill = "", '<div class="fnb-wait" style="width:30%;height:100%"></div>'
    else:
        percent = min(max(percent, 0), 100)
        value = f' aria-valuenow="{percent}"'
        fill = f'<div class="fnb-fill" style="width:{percent}%;height:100%"></div>'
    return (
        '<div style="display:flex;align-items:center;gap:10px">'
        '<div class="fnb-track" role="progressbar" aria-label="Progress" aria-valuemin="0" '
        f'aria-valuemax="100"{value} style="flex:1;height:6px;border-radius:3px;overflow:hidden">'
        f'{fill}</div><span class="fnb-mono" style="font-size:12px;width:3.8em;white-space:nowrap;'
        'text-align:right">'
        f"{'' if percent is None else f'{percent} %'}</span></div>"
    )


def _thumbnails(view: View) -> str:
    if not view.several:
        return ""
    images = "".join(
        f'<img src="{data_uri(data, "image/jpeg")}" alt="Finished image" decoding="sync" '
        'style="display:block;height:40px;width:auto;border-radius:4px;margin:0">'
        for data in view.thumbnails[-MAX_THUMBNAILS:]
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:6px;min-height:40px">{images}</div>'


def images_text(count: int) -> str:
    """Return how many images there are, for people."""
    return "1 image" if count == 1 else f"{count:,} images"


def note_html(mark: str, title: str, facts: tuple[str, ...] = ()) -> str:
    """Return one line that says how something ended, as a whole output."""
    return page(note(mark, title, facts))


def note(mark: str, title: str, facts: tuple[str, ...] = ()) -> str:
    """Return one line that says how something ended, as a part of an output."""
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:0 10px;align-items:baseline">'
        f'<span class="fnb-{mark}" aria-hidden="true">●</span> '
        f'<span style="font-weight:600">{escape(title, 400)}</span> '
        f'<span class="fnb-dim" style="font-size:12px">{" · ".join(map(escape, facts))}</span>'
        "</div>"
    )


def page(*parts: str) -> str:
    """Wrap parts into one output with the style sheet."""
    return wrap(*parts, sheet=_SHEET)


def kept_html(html: str, view: str = "") -> str:
    """Wrap the static fallback of a widget, which is shown below it where there is no widget.

    `view` is a class that the widget's element has, and nothing else on the page; none where the
    fallback is in one bundle with the widget, of which a page shows one or the other.
    """
    elsewhere = _KEPT_ELSEWHERE.format(view=view) if view else ""
    own = f" {view}-kept" if view else ""
    return (
        f"<style>{_KEPT}{elsewhere}</style>"
        f'<div class="fnb-kept{own}">{html}'
        '<div style="margin-top:4px;font-size:12px;opacity:.7">'
        "As it was when the cell ran. Run the cell again for the live view.</div></div>"
    )


def monitor_text(view: View, width: int = 0) -> str:
    """Return the monitor as one line of text."""
    parts = []
    if view.percent is not None:
        filled = min(max(view.percent, 0), 100) // 5
        parts.append(f"[{'#' * filled}{'.' * (20 - filled)}] {view.percent:3d} %")
    parts.append(", ".join((view.stage, *view.facts)))
    parts += [] if view.still else [view.times]
    text = " ".join("  ".join(parts).split("\n"))
    return clip(text, width) if width else clip(text, 400)
