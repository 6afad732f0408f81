"""The control panel: all parameters of Fooocus as a form, with a monitor and the images below."""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import clean, clip, escape, parameter_rows, parameter_table, wrap
from fooocus_nb.engine.manager import name_to_say
from fooocus_nb.errors import EngineError, FooocusError, ParameterError
from fooocus_nb.fooocus.requests import build_request
from fooocus_nb.fooocus.requests.images import encode_image
from fooocus_nb.fooocus.transport.data_uris import decode_data_uri
from fooocus_nb.results.cell import cell_of
from fooocus_nb.widgets.base import StaticFallback, bundle_of
from fooocus_nb.widgets.display_backends import widget_bundle, widgets_wanted
from fooocus_nb.widgets.job_monitor import small_jpeg
from fooocus_nb.widgets.layouts import remember
from fooocus_nb.widgets.panel_form import companions, form_of, to_json
from fooocus_nb.widgets.panel_values import PanelValues

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    import ipywidgets

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.results import Result
    from fooocus_nb.widgets.gallery import Gallery
    from fooocus_nb.widgets.mask_editor import MaskEditor
    from fooocus_nb.widgets.monitor_widget import LiveMonitor
    from fooocus_nb.widgets.panel_form import PanelForm

__all__ = ["Panel"]

_log = logging.getLogger(__name__)

MAX_NOTE = 400
MAX_DETAIL = 4000
THUMBNAIL_SIDE = 256
THUMBNAIL_BYTES = 12_000

_MASK = ".mask"
_NAMED = re.compile(r"(\w+)=")


class Panel(StaticFallback):
    """Shows every parameter of an engine as a form, with a monitor and the images below.

    Show it as the last value of a cell. Generate submits a generation and returns at once;
    pressed again, the next one waits in the queue. The values of the form are in
    :attr:`values`, the images in :attr:`results`. In a layout of other widgets, use its
    :attr:`widget`::

        ipywidgets.VBox([engine.panel().widget, ...])

    Parameters
    ----------
    engine : Engine
        The engine that generates.
    schema : callable
        Returns the engine's present schema; it changes when a preset is loaded.
    values : mapping, optional
        Initial values, by name.

    Attributes
    ----------
    engine : Engine
        The engine that generates.

    Raises
    ------
    ParameterError
        When one of `values` is wrong.
    EngineStopped, EngineDied
        When the engine does not run.
    """

    def __init__(
        self,
        engine: Engine,
        schema: Callable[[], Schema],
        values: Mapping[str, Any] | None = None,
    ) -> None:
        self.engine = engine
        self._current_schema = schema
        self._schema = schema()
        self._lock = threading.RLock()
        self._values = PanelValues(self._schema, self._refresh)
        self._errors: dict[str, str] = {}
        self._note = self._detail = self._doing = ""
        self._seed = ""
        self._jobs: list[Job] = []
        self._results: list[Result] = []
        self._thumbnails: dict[str, tuple[Any, bytes]] = {}
        self._form: PanelForm | None = None
        self._gallery: Gallery | None = None
        self._monitor: LiveMonitor | None = None
        #: The mask editor that is open, and the parameter whose image it paints over.
        self._editor: MaskEditor | None = None
        self._painted = ""
        #: The mask editors that this panel has made, and that are the mask of an image.
        self._editors: list[MaskEditor] = []
        self._view: ipywidgets.VBox | None = None
        if values:
            self._values.update(values)

    def __repr__(self) -> str:
        return f"<Panel of {self.engine.name!r}: {len(self._values)} values set>"

    # -- from Python ------------------------------------------------------------------------

    @property
    def values(self) -> PanelValues:
        """The values of the form, by name. A value that is set is checked and shown at once.

        ``panel.values["steps"] = 30`` sets one, ``panel.values.update(...)`` several,
        ``panel.values = {...}`` all of them: the others are reset.

        Raises
        ------
        ParameterError
            When a name, type, choice or range is wrong. Nothing is changed then.
        """
        return self._values

    @values.setter
    def values(self, values: Mapping[str, Any]) -> None:
        self._values.replace(values)

    @property
    def results(self) -> tuple[Result, ...]:
        """The results of this panel's generations, the oldest first."""
        with self._lock:
            return tuple(self._results)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The generations of this panel that run or wait, in order."""
        with self._lock:
            return tuple(self._jobs)

    @property
    def gallery(self) -> Gallery:
        """The images of this panel, as they are below the form; see :class:`Gallery`."""
        from fooocus_nb.widgets.gallery import Gallery

        with self._lock:
            if self._gallery is None:
                self._gallery = Gallery(
                    self._results,
                    title="Images",
                    newest_first=True,
                    hint="Generated images appear here.",
                    engine=self.engine,
                    schema=self._current_schema,
                )
            return self._gallery

    def generate(self) -> Job:
        """Submit a generation with the values of the form, as the button does.

        Returns
        -------
        Job
            Its images will be in :attr:`results`, and below the form.

        Raises
        ------
        ParameterError
            When the values contradict each other.
        EngineStopped, EngineDied
            When the engine does not run.
        """
        values = dict(self._values)
        job = self.engine.submit(values.pop("prompt", ""), **values)
        with self._lock:
            self._jobs.append(job)
        threading.Thread(
            target=self._await, args=(job,), name="fooocus-nb-panel-job", daemon=True
        ).start()
        self._refresh()
        return job

    def cell(self) -> str:
        """Return the ``%%fooocus`` cell that generates with the values of the form."""
        values = dict(self._values)
        request = build_request(self._schema, values.pop("prompt", ""), values)
        given = dict(request.given)
        if "image_seed" not in self._values:
            given.pop("image_seed", None)  # it was chosen just now
        defaults = {name: found.default for name, found in self._schema.parameters.items()}
        return cell_of(given, defaults, name_to_say(self.engine))

    def reset(self) -> None:
        """Reset all values to the server's defaults."""
        with self._lock:
            self._errors.clear()
            self._note = self._detail = ""
        self._values.clear()

    def close(self) -> None:
        """Close the panel, and leave static HTML in its place; generations go on."""
        self._show_fallback()
        with self._lock:
            view, form = self._view, self._form
            monitor, others = self._monitor, {self._editor, *self._editors, self._gallery}
            self._view = self._form = None
            self._monitor = self._editor = self._gallery = None
            self._editors = []
        if form is not None:
            form.close()
        if view is not None:
            view.close()
        for other in others:
            if other is not None:
                other.close()
        if monitor is not None:
            self.engine.monitor().release()

    # -- what is shown ----------------------------------------------------------------------

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        shown = widget_bundle(self.widget) if widgets_wanted() else None
        return bundle_of(shown, text=self._text(), html=self._html())

    @property
    def widget(self) -> ipywidgets.VBox:
        """The form, monitor and images as one widget, for ``VBox`` and other layouts.

        It is made on the first use, and is the same one until the panel is closed.
        """
        import ipywidgets

        from fooocus_nb.widgets.panel_form import PanelForm

        with self._lock:
            if self._view is None:
                self._form = PanelForm(self._handle, form=form_of(self._schema))
                self._monitor = self.engine.monitor().hold()
                self._view = ipywidgets.VBox(layout={"grid_gap": "10px"})
                self._view.add_class("fnb-panel-page")
                remember(self._view, self.static_html)
                self._lay_out()
                self._refresh()
            return self._view

    def _lay_out(self) -> None:
        """Arrange the parts below each other, with the mask editor while it is open."""
        if self._view is not None and self._form is not None and self._monitor is not None:
            editor = [] if self._editor is None else [self._editor]
            self._view.children = (self._form, *editor, self._monitor, self.gallery)

    def _text(self) -> str:
        return repr(self)

    def _html(self) -> str:
        rows = parameter_rows(dict(self._values))
        form = wrap(
            f'<div style="font-weight:600">Control panel of {escape(self.engine.name)}</div>',
            '<div class="fnb-dim" style="margin:2px 0 6px">The form needs a running kernel and a '
            "notebook that shows widgets. Its values:</div>",
            parameter_table(rows) if rows else "<div>The server's defaults.</div>",
            label="Fooocus control panel",
        )
        return form + self.gallery.static_html() if self.results else form

    def _refresh(self, changed: Collection[str] = ()) -> None:
        """Update the form. Safe from any thread."""
        with self._lock:
            for name in changed:
                self._errors.pop(name, None)
            form = self._form
            if form is None:
                return
            self._follow_server(form)
            parameters = self._schema.parameters
            values = dict(self._values)
            mask = dict(_parts(values.get(self._painted))).get("mask")
            if mask is not self._editor:
                self._open_editor(None, "")  # its mask has been replaced or removed
            self._close_unused_editors(values)
            form.images = self._thumbnails_of(values)
            form.errors = dict(self._errors)
            form.state = {
                "note": self._note,
                "detail": self._detail,
                "running": bool(self._jobs),
                "waiting": max(len(self._jobs) - 1, 0),
                "doing": self._doing,
                "seed": self._seed,
                "painting": self._painted,
            }
            form.values = {name: to_json(parameters[name], value) for name, value in values.items()}

    def _follow_server(self, form: PanelForm) -> None:
        """Adopt the server's present defaults: a preset may have been loaded, also elsewhere."""
        try:
            schema = self._current_schema()
        except EngineError:  # it does not run
            return
        if schema is not self._schema:
            self._schema = schema
            self._values.adopt(schema)
            form.form = form_of(schema)

    def _thumbnails_of(self, values: Mapping[str, Any]) -> dict[str, bytes]:
        """Return a small JPEG of each image that is set, by the name of its slot."""
        slots = {
            slot: image
            for name, value in values.items()
            if self._schema.parameters[name].is_image
            for slot, image in _slots(name, value)
        }
        for slot, image in slots.items():
            # A mask editor stays the same while its mask changes.
            source = getattr(image, "mask_png", image)
            if self._thumbnails.get(slot, (None, b""))[0] is not source:
                self._thumbnails[slot] = source, _thumbnail(slot, image)
        # Those of images that were removed would hold them.
        self._thumbnails = {slot: self._thumbnails[slot] for slot in slots}
        return {slot: small for slot, (_, small) in self._thumbnails.items()}

    def _set_note(self, note: str = "", detail: str = "") -> None:
        with self._lock:
            self._note, self._detail = clip(note, MAX_NOTE), clip(detail, MAX_DETAIL)

    # -- messages of the form, on the form's own thread -----------------------------------------

    def _handle(self, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """Handle a message of the browser. It may hold anything; what fails is told in the form."""
        try:
            self._act(content, buffers)
        except Exception as error:  # noqa: BLE001 - a button that does nothing tells nothing
            _log.warning("a control panel failed", exc_info=True)
            self._set_note(f"{type(error).__name__}: {error}")
        self._refresh()

    def _act(self, content: dict[str, Any], buffers: list[memoryview]) -> None:
        match content:
            case {"kind": "set", "changes": dict(changes)}:
                self._set_all(changes)
            case {"kind": "image", "slot": str(slot)} if buffers:
                self._set_image(slot, bytes(buffers[0]))
            case {"kind": "remove", "slot": str(slot)}:
                self._remove_image(slot)
            case {"kind": "paint", "slot": str(slot)}:
                self._press_paint(slot.removesuffix(_MASK))
            case {"kind": "preset", "name": str(name)}:
                self._press_preset(name)
            case {"kind": "reset"}:
                self.reset()
            case {"kind": "generate"}:
                self._press_generate()
            case {"kind": "cell"}:
                self._press_copy(content.get("id"))

    def _set_all(self, changes: Mapping[str, Any]) -> None:
        for name, value in changes.items():
            if name in self._schema.parameters and not self._schema.parameters[name].is_image:
                empty_seed = self._schema.parameters[name].type == "seed" and value == ""
                self._set(name, None if empty_seed else value)

    def _set(self, name: str, value: Any) -> None:
        """Set a value; if it is wrong, show the error at its field."""
        try:
            self._values.update({name: value})
        except ParameterError as error:
            with self._lock:
                self._errors[name] = clip(error, MAX_NOTE)

    def _set_image(self, slot: str, data: bytes) -> None:
        name, is_mask = slot.removesuffix(_MASK), slot.endswith(_MASK)
        parameter = self._schema.parameters.get(name)
        if parameter is None or not parameter.is_image:
            return
        value: Any = data
        if parameter.type == "mask image":
            parts = dict(_parts(self._values[name]))
            if not is_mask and hasattr(parts.get("mask"), "mask_png"):
                del parts["mask"]  # it was painted over another image
            parts["mask" if is_mask else "image"] = data
            if is_mask and "image" not in parts:
                with self._lock:
                    self._errors[name] = "Choose the image first, then its mask."
                return
            value = parts
        self._set(name, value)
        if name in self._values:
            for other, wanted in companions(name, self._schema.parameters).items():
                self._set(other, wanted)

    def _remove_image(self, slot: str) -> None:
        name = slot.removesuffix(_MASK)
        if name not in self._schema.parameters:
            return
        parts = dict(_parts(self._values[name]))
        if slot.endswith(_MASK) and "image" in parts:
            self._set(name, {"image": parts["image"]})
        else:
            self._set(name, None)

    def _press_paint(self, name: str) -> None:
        """Open a mask editor for an image of the form, or close it if it is open."""
        from fooocus_nb.widgets.mask_editor import MaskEditor

        parameter = self._schema.parameters.get(name)
        if parameter is None or parameter.type != "mask image":
            return
        if self._painted == name:
            self._open_editor(None, "")
            return
        parts = dict(_parts(self._values[name]))
        if "image" not in parts:
            with self._lock:
                self._errors[name] = "Choose the image first, then paint its mask."
            return
        mask = parts.get("mask")
        editor = mask if isinstance(mask, MaskEditor) else None
        made = editor is None or editor.comm is None  # one that was closed shows nothing
        if editor is None or editor.comm is None:
            editor = MaskEditor(parts["image"], mask if editor is None else editor.mask)
        editor.observe(self._mask_changed, "mask_png")
        self._set(name, {"image": parts["image"], "mask": editor})
        if made:
            self._editors.append(editor)
        self._open_editor(editor, name)

    def _open_editor(self, editor: MaskEditor | None, name: str) -> None:
        """Show this mask editor, or none; the mask that was painted is kept."""
        with self._lock:
            self._editor, self._painted = editor, name
        self._lay_out()

    def _close_unused_editors(self, values: Mapping[str, Any]) -> None:
        """Close those whose image was replaced: each holds it, and a widget is never forgotten."""
        used = [
            dict(_parts(value)).get("mask")
            for name, value in values.items()
            if self._schema.parameters[name].is_image
        ]
        unused = [editor for editor in self._editors if not any(editor is mask for mask in used)]
        for editor in unused:
            self._editors.remove(editor)
            editor.unobserve(self._mask_changed, "mask_png")
            editor.close()

    def _mask_changed(self, _change: object) -> None:
        form = self._form
        if form is not None:
            form.submit(self._refresh)

    def _press_preset(self, name: str) -> None:
        """Load a preset. On a thread of its own: the server may download models first."""
        self._set_note()
        self._doing = f"Loading preset {clip(name, 80)}"
        threading.Thread(
            target=self._load_preset, args=(name,), name="fooocus-nb-panel-preset", daemon=True
        ).start()

    def _load_preset(self, name: str) -> None:
        try:
            self.engine.preset(name)
        except FooocusError as error:
            self._show_error(error)
        finally:
            self._doing = ""
            self._refresh()

    def _press_generate(self) -> None:
        if self._errors:
            wrong = len(self._errors)
            fields = "1 field needs" if wrong == 1 else f"{wrong} fields need"
            self._set_note(f"Nothing was sent: {fields} another value.")
            return
        self._set_note()
        try:
            self.generate()
        except FooocusError as error:
            self._show_error(error)

    def _press_copy(self, asked: object) -> None:
        form = self._form
        try:
            text = self.cell()
        except FooocusError as error:
            self._show_error(error)
            return
        if form is not None:
            form.send({"kind": "cell", "text": text, "id": asked})  # for the page that asked

    def _show_error(self, error: BaseException) -> None:
        """Show an error in the form, at its field where it names one."""
        first, _, rest = clean(str(error)).partition("\n")
        named = _NAMED.match(first)
        with self._lock:
            if named and named[1] in self._schema.parameters:
                self._errors[named[1]] = first
        self._set_note(first, rest)

    # -- waiting for a generation, on a thread of its own --------------------------------------

    def _await(self, job: Job) -> None:
        result: Result | None = None
        try:
            result = job.result()
        except FooocusError as error:
            result = getattr(error, "result", None)
            self._show_error(error)
        except Exception as error:  # noqa: BLE001
            self._set_note(f"{type(error).__name__}: {error}")
        with self._lock:
            self._jobs.remove(job)
            if job.request.seed >= 0:
                self._seed = str(job.request.seed)
            if result:
                self._results.append(result)
            gallery = self._gallery
        self._refresh()
        if gallery is not None and result:
            gallery.add(result)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the image and the mask of a value that holds both, or one of them."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, (list, tuple)):
        yield from zip(("image", "mask"), value, strict=True)
    elif value is not None:
        yield "image", value


def _slots(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the images of a parameter by the names of their slots in the form."""
    for part, image in _parts(value):
        if image is not None:
            yield (name + _MASK if part == "mask" else name), image


def _thumbnail(name: str, image: Any) -> bytes:
    """Return a valid image as a small JPEG; of a mask editor its mask."""
    if hasattr(image, "mask_png"):
        image = image.mask
    found = decode_data_uri(encode_image(name, image))
    return small_jpeg(found[0], THUMBNAIL_SIDE, THUMBNAIL_BYTES) if found else b""
