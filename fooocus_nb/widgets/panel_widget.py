"""The form of a control panel as a widget."""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from fooocus_nb.widgets._assets import joined

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PanelForm"]

_log = logging.getLogger(__name__)


class PanelForm(anywidget.AnyWidget):
    """Shows the form and hands on what people do with it.

    Parameters
    ----------
    take : callable
        Gets each message of the browser and its buffers, one after the other, on a thread of the
        form's own: neither the kernel's main thread nor its subshells ever wait for it.

    Attributes
    ----------
    form : dict
        Groups, sections and fields, as :func:`~fooocus_nb.widgets.panel_form.form_of` says.
    values : dict
        What differs from the defaults, by name.
    pictures : dict
        A small JPEG of each picture that is set, by the name of its slot.
    errors : dict
        What is wrong, by the name of the field.
    state : dict
        ``note``, ``detail``, ``running``, ``waiting``, ``seed``.
    """

    _esm = joined("dom.js", "panel_controls.js", "panel.js")
    _css = joined("base.css", "panel.css")
    form = traitlets.Dict().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)
    errors = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)

    def __init__(
        self, take: Callable[[dict[str, Any], list[memoryview]], None], **traits: Any
    ) -> None:
        self._take = take
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="fooocus-nb-panel")
        super().__init__(**traits)
        self.on_msg(self._hand_on)

    def close(self) -> None:
        """Take the form off the screen."""
        self._worker.shutdown(wait=False)
        super().close()

    def later(self, work: Callable[[], None]) -> None:
        """Do this on the form's own thread, after what it does now."""
        with contextlib.suppress(RuntimeError):  # the form has been closed
            self._worker.submit(work)

    def _hand_on(self, _widget: object, content: Any, buffers: list[memoryview]) -> None:
        """Take what the browser says. It may come on any thread, and it may say anything."""
        if isinstance(content, dict):
            self.later(lambda: self._work(content, buffers or []))

    def _work(self, content: dict[str, Any], buffers: list[memoryview]) -> None:
        try:
            self._take(content, buffers)
        except Exception:  # noqa: BLE001
            # Whoever sent that was no form of ours; a person gets errors in the form.
            _log.debug("a control panel could not do what was asked of it", exc_info=True)
        finally:
            self.send({"kind": "took", "id": content.get("id")})
