"""Live views: widgets that leave something behind where they cannot be shown, or not any more."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import anywidget
import traitlets

from fooocus_nb.widgets._bundle import bundle_of
from fooocus_nb.widgets.surfaces import widgets_wanted

__all__ = ["LiveView", "Placed"]


class Placed:
    """What is shown in places of a notebook, and leaves a plain picture there in the end."""

    _places: tuple[str, ...] = ()

    def _ipython_display_(self, **options: Any) -> None:
        place = uuid.uuid4().hex
        self._places += (place,)
        _publish(*self._repr_mimebundle_(**options), place, update=False)

    def _leave(self) -> None:
        """Put the plain picture into each place."""
        places, self._places = self._places, ()
        with contextlib.suppress(Exception):  # the kernel may be ending
            if places:
                remains, _ = bundle_of(None, text=self._text(), html=self._html())
            for place in places:
                _publish(remains, {}, place, update=True)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is shown, with its metadata."""
        raise NotImplementedError

    def _text(self) -> str:
        """Return what shows where HTML does not."""
        raise NotImplementedError

    def _html(self) -> str:
        """Return what shows where widgets do not."""
        raise NotImplementedError


class LiveView(Placed, anywidget.AnyWidget):
    """A widget with a plain picture of itself.

    The plain picture stands beside it in the notebook, for frontends without widgets, for code
    hosts and for nbconvert. When the view is closed it takes the view's place.
    """

    uid = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(uid=uuid.uuid4().hex, **traits)

    def close(self) -> None:
        """Leave the plain picture in the view's place, and do nothing more."""
        self._leave()
        super().close()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        live = widgets_wanted()
        if live:
            self._begin()
        shown = anywidget.AnyWidget._repr_mimebundle_(self, **options) if live else None
        return bundle_of(shown, text=self._text(), html=self._html())

    def _begin(self) -> None:
        """Get ready: the view is about to be shown."""
        raise NotImplementedError


def _publish(data: dict[str, Any], metadata: dict[str, Any], place: str, *, update: bool) -> None:
    from IPython.display import publish_display_data

    publish_display_data(  # type: ignore[no-untyped-call]
        data, metadata, transient={"display_id": place}, update=update
    )
