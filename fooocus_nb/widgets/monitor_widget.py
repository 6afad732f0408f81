"""The live monitor as a widget: the progress of a generation, with Stop and Skip."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from fooocus_nb._html import clean, clip
from fooocus_nb.engine.jobs.job import session_hash_of
from fooocus_nb.engine.names import kernel_id
from fooocus_nb.errors import FooocusError
from fooocus_nb.widgets._assets import joined
from fooocus_nb.widgets._html import View, box_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fooocus_nb.engine.jobs.job import Job

__all__ = ["LiveMonitor", "frontend_answers", "note_answer", "probe"]

_log = logging.getLogger(__name__)

#: What one view may hold: whatever the engine prints, a message stays small.
MAX_TITLE = 300
MAX_LINE = 300
LOG_LINES = 200
MAX_THUMBNAILS = 24

_answered = threading.Event()


@dataclass(frozen=True)
class _Target:
    """What the buttons act on. Replaced as a whole: threads that draw and that are told read it."""

    job: Job | None = None
    number: int = 0
    #: By what the Jupyter server knows it: the engine's process id and the session hash.
    generation: Mapping[str, str] = field(default_factory=dict)
    on_command: Callable[[str], None] | None = None


class LiveMonitor(anywidget.AnyWidget):
    """Shows a generation and sends the commands of its buttons."""

    _esm = joined("dom.js", "kernel.js", "server.js", "busy.js", "monitor.js")
    _css = joined("base.css", "kernel.css", "live_head.css", "monitor.css")
    view = traitlets.Dict().tag(sync=True)
    preview = traitlets.Bytes().tag(sync=True)
    thumbnails = traitlets.List(traitlets.Bytes()).tag(sync=True)
    log = traitlets.Unicode().tag(sync=True)
    #: ``comm`` where the kernel listens while it shows; ``interrupt`` where a busy cell keeps it
    #: from listening, so that Stop has to interrupt the kernel through the Jupyter server.
    control = traitlets.Unicode("comm").tag(sync=True)
    kernel_id = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._target = _Target()
        self._log_open = False
        super().__init__(kernel_id=kernel_id(), **traits)
        self.on_msg(self._handle)

    def watch(self, job: Job | None, on_command: Callable[[str], None]) -> None:
        """Send commands to this job from now on, and report each to `on_command` first."""
        now = self._target
        if job is now.job:
            self._target = replace(now, on_command=on_command)
        else:
            self._target = _Target(job, now.number + 1, _known_as(job), on_command)

    def show(self, view: View, *, active: bool = True) -> None:
        """Update the widget. Only what has changed is sent."""
        target = self._target
        if view.preview != self.preview:
            self.preview = view.preview
        thumbnails = list(view.thumbnails[-MAX_THUMBNAILS:])
        if thumbnails != self.thumbnails:
            self.thumbnails = thumbnails
        if self._log_open and target.job is not None:
            lines = target.job.log[-LOG_LINES:]
            self.log = "\n".join(clip(line, MAX_LINE) for line in lines)
        self.view = {
            "title": " ".join(clip(view.title, MAX_TITLE).split()) or "(no prompt)",
            "stage": clip(view.stage, MAX_LINE),
            "percent": view.percent,
            "facts": [clip(fact, MAX_LINE) for fact in view.facts],
            "times": "" if view.still else view.times,
            "still": view.still,
            "mark": view.mark,
            "stages": [[clip(title, MAX_LINE), state] for title, state in view.stages],
            "line": clip(view.line, MAX_LINE),
            "box": list(box_size(view.box)) if view.box else None,
            "several": view.several,
            "active": active,
            # In one message with what is seen: a button acts on that, also through the server.
            "job": target.number,
            "generation": dict(target.generation),
        }

    def _handle(self, _widget: object, content: Any, _buffers: object) -> None:
        """Handle a message of the browser. It may come on any thread and hold anything."""
        if not isinstance(content, dict):
            return
        kind, target = content.get("kind"), self._target
        if kind == "hello":
            _answered.set()
        elif kind == "log":
            self._log_open = bool(content.get("open"))
        elif kind in ("stop", "skip") and content.get("job") == target.number:
            threading.Thread(target=self._run, args=(kind, target), daemon=True).start()

    def _run(self, verb: str, target: _Target) -> None:
        """Run a command. On a thread of its own: the engine may be slow to answer."""
        job, on_command = target.job, target.on_command
        self.send({"kind": "took", "verb": verb})
        try:
            if job is not None:
                if on_command is not None:
                    on_command(verb)
                job.stop() if verb == "stop" else job.skip()
        except FooocusError as error:
            self.send({"kind": "refused", "text": clean(str(error).partition("\n")[0])})


def _known_as(job: Job | None) -> Mapping[str, str]:
    """Return by what the Jupyter server knows a generation; nothing where it cannot."""
    pid = None if job is None else job.engine.pid
    if job is None or pid is None:
        return {}
    return {"pid": str(pid), "session": session_hash_of(job)}


class _Probe(anywidget.AnyWidget):
    """A widget that shows nothing: a frontend that has widgets sends it a hello."""

    _esm = "export default { initialize({ model }) { model.send({ kind: 'hello' }); } };"


def note_answer() -> None:
    """Note that a frontend with widgets has answered."""
    _answered.set()


def frontend_answers() -> bool:
    """Whether a frontend with widgets has answered in this kernel."""
    return _answered.is_set()


def probe() -> None:
    """Probe for a frontend with widgets. Returns at once; the answer comes later."""
    widget = _Probe()

    def heard(_widget: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("kind") == "hello":
            _answered.set()
            with contextlib.suppress(Exception):
                widget.close()

    widget.on_msg(heard)
