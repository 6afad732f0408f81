"""The engine's log as a widget: it follows, searches, filters, and knows the past."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import traitlets

from fooocus_nb._html import clean, clip, escape, wrap
from fooocus_nb.fooocus.logs.levels import Classifier
from fooocus_nb.widgets._assets import joined
from fooocus_nb.widgets._log_pump import UNHEARD_SECONDS, LogPump
from fooocus_nb.widgets.base import LiveView
from fooocus_nb.widgets.monitor_widget import frontend_answers

if TYPE_CHECKING:
    from fooocus_nb.engine.core import Engine

__all__ = ["LogView"]

STATIC_LINES = 60
STATIC_LINE = 300
_COLOURS = {
    "error": "var(--jp-error-color1,#c62828)",
    "warning": "var(--jp-warn-color0,#b55c00)",
}


class LogView(LiveView):
    """Shows an engine's log live. Made by ``engine.logs()``.

    What a saved notebook keeps of it is the last lines as they were when it was shown, or closed.

    Parameters
    ----------
    engine : Engine
        Whose log. One that we only connected to has none that we could read; the view says so.

    Attributes
    ----------
    engine : Engine
        Whose log it shows.
    """

    _esm = joined("dom.js", "log_rows.js", "log_search.js", "log_view.js")
    _css = joined("base.css", "log_view.css")
    label = traitlets.Unicode().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        super().__init__(
            label=clip(engine.name, 80),
            note="" if engine.owned else _not_ours(engine),
        )
        self._pump = LogPump(engine, self.send)
        self.on_msg(self._take)

    @property
    def following(self) -> bool:
        """Whether the log is read at this moment: it is while the view is on a screen."""
        return self._pump.running

    def close(self) -> None:
        """Leave the last lines in the view's place, and read the log no more."""
        self._pump.close()
        super().close()

    def _take(self, _widget: object, content: Any, _buffers: object) -> None:
        """Handle what the browser says. It may come on any thread, and it may say anything."""
        if not isinstance(content, dict) or self.note:
            return
        viewer = str(content.get("viewer", ""))[:64]
        match content.get("kind"):
            case "open":
                with contextlib.suppress(TypeError, ValueError):
                    self._pump.open(viewer, int(content["epoch"]), int(content["end"]))
            case "shut":
                self._pump.shut(viewer)
            case "earlier":
                self._pump.earlier()
            case "whole":
                self._pump.whole(viewer)

    def _begin(self) -> None:
        if not self.note:
            # A browser that is there but not heard, because the kernel is busy, misses nothing.
            self.first = self._pump.begin(float("inf") if frontend_answers() else UNHEARD_SECONDS)

    def _lines(self) -> list[str]:
        return [clip(line, STATIC_LINE) for line in self.engine.tail(STATIC_LINES)]

    def _text(self) -> str:
        return "\n".join([self._title(), *self._lines()])

    def _title(self) -> str:
        if self.note:
            return self.note
        return clean(
            f"The last lines of the log of {self.engine.name!r}, which is {self.engine.state}"
        )

    def _html(self) -> str:
        classifier = Classifier()
        rows = []
        for line in self._lines():
            colour = _COLOURS.get(classifier.level(line))
            style = f' style="color:{colour}"' if colour else ""
            rows.append(f"<span{style}>{escape(line, STATIC_LINE)}</span>")
        head = f'<div style="font-weight:600;margin:2px 0 4px">{escape(self._title(), 400)}</div>'
        lines = "\n".join(rows)
        # Laid out from its end, so that the newest lines show without a script to scroll to them.
        body = (
            '<div style="display:flex;flex-direction:column-reverse;max-height:340px;'
            'overflow:auto">'
            '<pre class="fnb-mono" style="margin:0;font-family:monospace;font-size:12px;'
            f'line-height:1.4">{lines}</pre></div>'
        )
        return wrap(head, body if rows else "", label="Log of the engine")


def _not_ours(engine: Engine) -> str:
    return clip(f"Engine {engine.name!r} is somebody else's: its log is not ours to read.", 300)
