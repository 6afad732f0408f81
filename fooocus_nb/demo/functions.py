"""What the page's functions do: make a task, run it, stop it, apply a preset, read metadata."""

from __future__ import annotations

import asyncio
import base64
import html
import re
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from fooocus_nb.demo.console import say
from fooocus_nb.demo.inputs import MAX_SEED, Task, decode, dilate, encode
from fooocus_nb.demo.page import BASE_MODELS, LORAS, PRESETS, Page
from fooocus_nb.demo.records import styles_for_page
from fooocus_nb.errors import MetadataError
from fooocus_nb.fooocus.metadata import read_metadata

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from fooocus_nb.demo.files import Files
    from fooocus_nb.demo.inputs import Event
    from fooocus_nb.demo.page import Function
    from fooocus_nb.demo.worker import Worker

__all__ = ["Functions"]

#: How often the generator looks for events of the worker's thread.
POLL_SECONDS = 0.01
#: The page never closes a session, so the oldest are dropped.
MAX_SESSIONS = 500


def update(**changes: object) -> dict[str, Any]:
    """Return what changes some of a component's properties."""
    return {**changes, "__type__": "update"}


def _progress(percent: int, text: str) -> str:
    return (
        f'\n<div class="loader-container"><div class="loader"></div>'
        f'<progress value="{percent}" max="100"></progress>\n<span>{text}</span></div>\n'
    )


class Functions:
    """The functions behind a page; the one that is called ``stop`` there is `_stop` here."""

    def __init__(
        self, page: Page, worker: Worker, files: Files, without: Iterable[str] = ()
    ) -> None:
        self.page = page
        #: What this page doesn't have, and the worker works with all the same.
        self._defaults = {key: Page().default(key) for key in without}
        self.files = files
        self._worker = worker
        self._tasks: OrderedDict[str, Task] = OrderedDict()

    def call(self, function: Function, data: list[Any], session: str) -> list[Any]:
        """Run a function that answers once, and return what its outputs show then."""
        if len(data) < len(function.inputs):
            msg = f"{function.name} takes {len(function.inputs)} values and got {len(data)}"
            raise ValueError(msg)
        act = getattr(self, f"_{function.name}", None) if function.name else None
        if act is not None:
            answer: list[Any] = act(dict(zip(function.inputs, data, strict=False)), session)
            return answer
        return [update() for _ in function.outputs]

    def _history(self, values: dict[str, Any], session: str) -> list[Any]:
        if not self.files.image_log:
            return [update(value="")]
        page = html.escape(str(self.files.log_page()))
        return [update(value=f'<a href="file={page}" target="_blank">History Log</a>')]

    # -- tasks ------------------------------------------------------------------------------

    def _get_task(self, values: dict[str, Any], session: str) -> list[Any]:
        self._tasks.pop(session, None)
        self._tasks[session] = Task({**self._defaults, **values})
        while len(self._tasks) > MAX_SESSIONS:
            self._tasks.popitem(last=False)
        return [None]

    def _stop(self, values: dict[str, Any], session: str) -> list[Any]:
        return self._command("stop", session)

    def _skip(self, values: dict[str, Any], session: str) -> list[Any]:
        return self._command("skip", session)

    def _command(self, command: str, session: str) -> list[Any]:
        task = self._tasks.get(session)
        if task is not None:
            task.command = command
        return [None]

    async def generate(self, session: str) -> AsyncGenerator[list[Any], None]:
        """Run a session's task; yield progress, preview, running gallery and final gallery."""
        task = self._tasks.get(session)
        if task is None or task.started:
            return
        began = time.monotonic()
        task.started = True
        yield [
            update(visible=True, value=_progress(1, "Waiting for task to start ...")),
            update(visible=True, value=None),
            update(visible=False, value=[]),
            update(visible=False),
        ]
        self._worker.add(task)
        finished = False
        while not finished:
            await asyncio.sleep(POLL_SECONDS)
            for event in _take_events(task):
                yield self._shown(event)
                finished = event.kind == "finish"
        say(f"Total time: {time.monotonic() - began:.2f} seconds")

    def _shown(self, event: Event) -> list[Any]:
        if event.kind == "preview":
            preview = update(visible=True, value=event.image) if event.image else update()
            bar = update(visible=True, value=_progress(event.percent, event.text))
            return [bar, preview, update(), update(visible=False)]
        gallery = update(visible=True, value=[self.files.publish(path) for path in event.paths])
        if event.kind == "results":
            return [update(visible=True), update(visible=True), gallery, update(visible=False)]
        return [*(update(visible=False) for _ in range(3)), gallery]

    # -- the rest of the page ---------------------------------------------------------------

    def _begin(self, values: dict[str, Any], session: str) -> list[Any]:
        return [
            update(visible=True, interactive=True),
            update(visible=True, interactive=True),
            update(visible=False, interactive=False),
            [],
            True,
        ]

    def _draw_seed(self, values: dict[str, Any], session: str) -> list[Any]:
        return [str(secrets.randbelow(MAX_SEED + 1)) if values["random_seed"] else update()]

    def _end(self, values: dict[str, Any], session: str) -> list[Any]:
        hidden = update(visible=False, interactive=False)
        return [update(visible=True, interactive=True), hidden, hidden, False]

    def _preset(self, values: dict[str, Any], session: str) -> list[Any]:
        changes = PRESETS[values["preset"]]
        untouched = {"advanced", "prompt", "generate", "load", "random_seed", "seed"}
        function = self.page.functions[self.page.index("preset")]
        return [
            update()
            if key in untouched or (value := changes.get(key, self.page.default(key))) is None
            else value
            for key in function.outputs
        ]

    def _refresh(self, values: dict[str, Any], session: str) -> list[Any]:
        bases = [*BASE_MODELS, *self.files.models("checkpoints")]
        found = {
            "base_model": bases,
            "refiner": ["None", *bases],
            "preset": list(PRESETS),
            "lora": [*LORAS, *self.files.models("loras")],
        }
        function = self.page.functions[self.page.index("refresh")]
        kinds = ["lora" if re.fullmatch(r"lora_\d+_model", k) else k for k in function.outputs]
        return [update(choices=found[kind]) if kind in found else update() for kind in kinds]

    # -- looking at images ------------------------------------------------------------------

    def _describe(self, values: dict[str, Any], session: str) -> list[Any]:
        from fooocus_nb.demo.retouching import describe, styles_for

        kinds = list(values["describe_kinds"])
        prompt = describe(decode(values["describe_image"]), kinds)
        styled = styles_for(kinds) if values["describe_styles"] else []
        return [prompt, styled or update()]

    def _make_mask(self, values: dict[str, Any], session: str) -> list[Any]:
        from fooocus_nb.demo.retouching import detect

        sam = values["mask_model"] == "sam"
        image = decode(values["inpaint_image"]["image"])
        mask = detect(image, str(values["mask_prompt"]) if sam else "")
        if sam:
            mask = dilate(mask, int(values["dino_erode"]))
        return [encode(mask.convert("RGB"))]

    def _read_metadata(self, values: dict[str, Any], session: str) -> list[Any]:
        data = base64.b64decode(values["metadata_image"].partition(",")[2])
        try:
            found = read_metadata(self.files.keep(data, "image"))
        except MetadataError:
            return [{}]
        parameters = dict(found.raw) if found.scheme == "fooocus" else found.text
        return [{"parameters": parameters, "metadata_scheme": found.scheme}]

    def _apply_metadata(self, values: dict[str, Any], session: str) -> list[Any]:
        data = base64.b64decode(values["metadata_image"].partition(",")[2])
        changes: dict[str, Any] = {}
        try:
            changes["styles"] = styles_for_page(read_metadata(self.files.keep(data, "image")))
        except MetadataError:
            say("Could not find metadata in the image!")
        function = self.page.functions[self.page.index("apply_metadata")]
        return [changes.get(key, update()) for key in function.outputs]


def _take_events(task: Task) -> list[Event]:
    """Return the events since the last time; of previews in a row only the last one."""
    taken: list[Event] = []
    while not task.events.empty():
        event = task.events.get()
        if taken and taken[-1].kind == event.kind == "preview":
            taken.pop()
        taken.append(event)
    return taken
