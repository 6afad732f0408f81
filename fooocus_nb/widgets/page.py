"""The engine's own web page, in a notebook."""

from __future__ import annotations

import traitlets

from fooocus_nb._html import escape, wrap
from fooocus_nb.errors import ConfigurationError
from fooocus_nb.widgets._assets import joined
from fooocus_nb.widgets.base import LiveView

__all__ = ["PageView"]

MIN_HEIGHT, MAX_HEIGHT = 240, 10_000


class PageView(LiveView):
    """Shows the complete page of an engine in a notebook, through the Jupyter server.

    Show it as the last value of a cell. From there the page also opens in a tab of JupyterLab or
    of the browser.

    Parameters
    ----------
    name : str
        The engine, as Jupyter lists it.
    height : int, optional
        The height of the page in CSS pixels, from 240 to 10,000. Default 800.

    Attributes
    ----------
    name, height
        The same.

    Raises
    ------
    ConfigurationError
        When the height is not possible.
    """

    _esm = joined("dom.js", "kernel.js", "server.js", "page.js")
    _css = joined("base.css", "kernel.css", "page.css")
    name = traitlets.Unicode().tag(sync=True)
    height = traitlets.Int(800).tag(sync=True)

    def __init__(self, name: str, height: int = 800) -> None:
        wrong = isinstance(height, bool) or not isinstance(height, int)
        if wrong or not MIN_HEIGHT <= height <= MAX_HEIGHT:
            msg = (
                f"height={height!r}: give pixels, a whole number from {MIN_HEIGHT} to {MAX_HEIGHT}."
            )
            raise ConfigurationError(msg)
        super().__init__(name=name, height=height)

    def __repr__(self) -> str:
        return f"<PageView of {self.name!r}>"

    def _begin(self) -> None:
        """Do nothing: the page comes by the Jupyter server."""

    def _text(self) -> str:
        return f"The page of {self.name!r}. It shows in JupyterLab and Notebook 7 only."

    def _html(self) -> str:
        return wrap(
            f'<div style="font-weight:600">The page of {escape(self.name)}</div>',
            '<div class="fnb-dim">It needs a running engine, and JupyterLab or Notebook 7.</div>',
            label="The page of an engine",
        )
