"""The calls of an engine beside a generation: describe, make a mask, presets, model files."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import io
import json
import os
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fooocus_nb._background import await_future, submit, wait_future
from fooocus_nb.engine.liveness import REACHABLE
from fooocus_nb.errors import (
    ConnectionLost,
    EngineError,
    GenerationError,
    MetadataError,
    ParameterError,
    UnsupportedParameter,
    show_plainly,
)
from fooocus_nb.fooocus.metadata import bare_image, parse_metadata, read_metadata, with_styles
from fooocus_nb.fooocus.metadata.style_texts import find_styles, style_texts_of
from fooocus_nb.fooocus.outputs import updated_value
from fooocus_nb.fooocus.requests import wire_value
from fooocus_nb.fooocus.requests.images import open_data_uri
from fooocus_nb.fooocus.schema.calls import PRESET
from fooocus_nb.fooocus.schema.named_values import PartialRecord
from fooocus_nb.fooocus.schema.parameters import Catalogue, ParameterDiff
from fooocus_nb.fooocus.schema.updates import updated_defaults, with_choices, with_defaults

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Generator, Mapping, Sequence

    import PIL.Image

    from fooocus_nb.engine.lifecycle import EngineLifecycle
    from fooocus_nb.engine.liveness import Liveness
    from fooocus_nb.engine.queue import JobQueue
    from fooocus_nb.fooocus.client import Client
    from fooocus_nb.fooocus.metadata import Metadata
    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.schema.calls import Call
    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["Description", "Queries", "Query", "answer"]

T = TypeVar("T")

#: The parameter of the styles, and the call that fills in the page from an image.
STYLES, APPLY = "style_selections", "apply_metadata"

#: The longer side of a mask in a notebook's output, in pixels.
SHOWN_SIDE = 320
#: What images are described as, and the name by which the page's choice is known.
_CONTENTS = ("photo", "anime")
#: The names of a mask's settings, and what the page calls them.
_MASK_SETTINGS = {
    "model": "mask_generation_model",
    "cloth": "cloth_category",
    "detect": "detection_prompt",
    "sam_model": "sam_model",
    "box_threshold": "box_threshold",
    "text_threshold": "text_threshold",
    "max_detections": "maximum_number_of_detections",
    "dino_erode_or_dilate": "dino_erode_or_dilate",
    "debug": "debugging_dino",
}


class Description(str):
    """A prompt that describes an image.

    Attributes
    ----------
    styles : tuple of str
        The styles that fit it, where the engine says so.
    """

    __slots__ = ("styles",)
    styles: tuple[str, ...]

    def __new__(cls, prompt: str, styles: Sequence[str] = ()) -> Description:
        """Make one of a prompt and styles."""
        made = super().__new__(cls, prompt)
        made.styles = tuple(styles)
        return made


class Query(Generic[T]):
    """An answer of the engine that is under way: wait for it, or await it."""

    def __init__(self, future: concurrent.futures.Future[T]) -> None:
        self._future = future

    def result(self) -> T:
        """Wait for the answer; an interrupt gives it up."""
        try:
            return wait_future(self._future)
        except KeyboardInterrupt:
            error = KeyboardInterrupt(
                "The call was given up; the engine may still be busy with it."
            )
            show_plainly(error, "python")
            raise error from None
        finally:
            self._future.cancel()

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        return await await_future(self._future)


def answer(query: Query[T]) -> T:
    """Wait for an answer."""
    return query.result()


class Queries:
    """Calls the functions of an engine beside "Generate", and keeps what they say of it."""

    def __init__(
        self,
        lifecycle: EngineLifecycle,
        queue: JobQueue,
        liveness: Liveness,
        fetch: Callable[[str, str], bytes],
    ) -> None:
        self._lifecycle = lifecycle
        self._queue = queue
        self._liveness = liveness
        self._fetch = fetch
        #: The preset that was loaded and its values, to be applied again after a restart.
        self._loaded: tuple[str, Mapping[str, Any]] | None = None

    @property
    def _client(self) -> Client:
        return self._lifecycle.require_client()

    @property
    def _schema(self) -> Schema:
        return self._lifecycle.require_schema()

    # -- what can be chosen -----------------------------------------------------------------

    def choices(self, name: str) -> Catalogue:
        """Return the choices of a parameter; none where the server has no such parameter."""
        parameter = self._schema.parameters.get(name)
        return Catalogue(parameter.choices or () if parameter else ())

    @property
    def preset_parameter(self) -> Parameter | None:
        """The choice of presets; None on a server that does not let one choose."""
        call = self._schema.verbs.get(PRESET)
        return None if call is None else call.own[PRESET]

    # -- the calls --------------------------------------------------------------------------

    def describe(self, image: Any, content: str | Sequence[str]) -> Query[Description]:
        """Let the engine say what an image shows."""
        call = self._call("describe")
        given = {_image_of(call): image}
        kind = next((p for p in call.own.values() if p.type in ("choice", "choices")), None)
        if kind is not None:
            given[kind.name] = _contents(kind, content)
        return self._ask("describe", self._checked("describe", given), self._described)

    def make_mask(self, image: Any, settings: Mapping[str, Any]) -> Query[PIL.Image.Image]:
        """Let the engine find what to paint in an image."""
        return self._ask("make_mask", self._mask_values(image, settings), _masked)

    def read_metadata(self, image: Any) -> Query[Metadata]:
        """Let the engine read how an image was made, or read it here where it cannot."""
        verb = "read_metadata"
        if verb in self._schema.verbs:
            call = self._call(verb)
            values = self._checked(verb, {_image_of(call): image})

            async def read() -> Metadata:
                answer = await self._answer(call, verb, values, lambda answer: answer)
                return await self._with_styles(_read(answer, image))
        else:
            found = _read_here(image)

            async def read() -> Metadata:
                return await self._with_styles(found)

        return Query(submit(read()))

    def with_recorded_styles(self, prompt: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the styles that the record leaves out from which parameters come."""
        if given.get(STYLES) is not None or given.get("styles") is not None:
            return given
        for value in (prompt, *given.values()):
            if isinstance(value, PartialRecord) and STYLES in value.missing:
                found = wait_future(submit(self._with_styles(parse_metadata(value.record))))
                styles = found.parameters.get(STYLES)
                return given if styles is None else {**given, STYLES: styles}
        return given

    async def _with_styles(self, found: Metadata) -> Metadata:
        """Find the styles that a scheme leaves out; where that fails they stay missing."""
        schema, settings = self._schema, self._lifecycle.settings
        if STYLES not in found.missing or STYLES not in schema.parameters:
            return found
        styles = None
        if settings is not None and settings.installation is not None:
            texts = await asyncio.to_thread(style_texts_of, settings.installation.path)
            styles = find_styles(found.raw, texts, schema.parameters[STYLES].choices or ())
        # A call in the queue would wait for the generations before it.
        if styles is None and APPLY in schema.verbs and not schema.verb(APPLY).queued:
            call = self._call(APPLY)
            values = self._checked(APPLY, {_image_of(call): bare_image(found)})
            with contextlib.suppress(EngineError):
                styles = await self._answer(
                    call, APPLY, values, functools.partial(_applied_styles, call)
                )
        return found if styles is None else with_styles(found, styles)

    def preset(self, name: str) -> Query[ParameterDiff]:
        """Load a preset: what it sets is the default of the generations that follow."""
        values = self._checked(PRESET, {PRESET: name})
        return self._ask(PRESET, values, lambda call, answer: self._load(call, answer, values))

    def refresh(self) -> Query[ParameterDiff]:
        """Let the engine look for new model files."""
        return self._ask("refresh", {}, self._renew)

    def reapply_preset(self, client: Client) -> None:
        """Begin again with the preset that was loaded before the engine was restarted."""
        if self._loaded is not None:
            name, defaults = self._loaded
            client.schema = with_defaults(client.schema, defaults, name)

    # -- what is sent -----------------------------------------------------------------------

    def _call(self, verb: str) -> Call:
        return self._schema.verb(verb)

    def _checked(self, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was given as the server takes it."""
        schema, call = self._schema, self._call(verb)
        values = {}
        for name, value in given.items():
            parameter = call.own.get(name) or schema.parameters[name]
            values[name] = wire_value(parameter, value, self._fetch)
        return values

    def _mask_values(self, image: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        call = self._call("make_mask")
        given = {name: value for name, value in settings.items() if value is not None}
        if "detect" in given:
            given.setdefault("model", "sam")
        values = self._checked("make_mask", {_image_of(call): image})
        for ours, value in given.items():
            theirs = _MASK_SETTINGS.get(ours)
            if theirs is None or theirs not in call.inputs:
                msg = f"This server makes masks without {ours}=."
                raise UnsupportedParameter(msg)
            parameter = call.own.get(theirs) or self._schema.parameters[theirs]
            values[theirs] = dataclasses.replace(parameter, name=ours).check(value)
        return values

    def _ask(
        self, verb: str, values: Mapping[str, Any], read: Callable[[Call, list[Any]], T]
    ) -> Query[T]:
        """Send a call and read its answer; where that is none, the log may say why."""
        call = self._call(verb)
        return Query(submit(self._answer(call, verb, values, lambda answer: read(call, answer))))

    async def _answer(
        self, call: Call, verb: str, values: Mapping[str, Any], read: Callable[[list[Any]], T]
    ) -> T:
        """Call on the background loop: in turn with the jobs if the server would queue it, too."""
        async with self._queue.call(queued=call.queued):
            return await self._run_with_liveness(verb, values, read)

    async def _run_with_liveness(
        self, verb: str, values: Mapping[str, Any], read: Callable[[list[Any]], T]
    ) -> T:
        """Call until it ends, the engine is gone, or it shows no sign of work for too long."""
        lines: list[str] = []
        moved = time.monotonic()

        def take(line: str) -> None:
            nonlocal moved
            moved = time.monotonic()
            lines.append(line)

        unsubscribe = self._lifecycle.lines.subscribe(take)
        try:
            answer = await self._liveness.run(
                self._client.call(verb, values),
                states=REACHABLE,
                silence=lambda: time.monotonic() - moved,
                stalled=lambda: self._liveness.stalled_call(verb),
            )
            return await asyncio.to_thread(read, answer)
        except ConnectionLost:
            failure = await self._liveness.await_failure(REACHABLE)
            if failure is not None:
                raise failure from None
            raise
        except EngineError as error:
            if (found := await self._liveness.explain(error, lambda: lines)) is not None:
                raise found from error
            raise
        finally:
            unsubscribe()

    # -- what is answered -------------------------------------------------------------------

    def _described(self, call: Call, answer: list[Any]) -> Description:
        values = dict(zip(call.targets, map(updated_value, answer), strict=False))
        prompt, styles = values.get("prompt"), values.get("style_selections")
        if not isinstance(prompt, str):
            msg = f"Engine {self._lifecycle.name!r} did not describe the image."
            raise GenerationError(msg)
        return Description(prompt, styles if isinstance(styles, list) else ())

    def _load(self, call: Call, answer: list[Any], values: Mapping[str, Any]) -> ParameterDiff:
        name = str(values[PRESET])
        defaults = updated_defaults(self._client.schema, call, answer)
        # What a preset leaves alone is still as the one before has set it.
        earlier = self._loaded[1] if self._loaded else {}
        self._loaded = (name, {**earlier, **defaults})
        return self._adopt(with_defaults(self._client.schema, defaults, name), f"Preset {name}")

    def _renew(self, call: Call, answer: list[Any]) -> ParameterDiff:
        return self._adopt(with_choices(self._client.schema, call, answer), "Files")

    def _adopt(self, schema: Schema, title: str) -> ParameterDiff:
        """Take another description of the server, and say what is different."""
        before, client = self._client.schema.parameters, self._client
        client.schema = schema
        return ParameterDiff(before, schema.parameters, sides=("before", "now"), title=title)


def _image_of(call: Call) -> str:
    """Return the name of the image that a call takes."""
    own = [parameter.name for parameter in call.own.values() if parameter.is_image]
    return own[0] if own else next(name for name in call.inputs if name and "image" in name)


def _contents(parameter: Parameter, content: Any) -> Any:
    """Return the page's names for what an image is like."""
    wanted = [content] if isinstance(content, str) else list(content)
    choices = parameter.choices or ()
    found = []
    for word in wanted:
        if word not in _CONTENTS:
            allowed = " or ".join(map(repr, _CONTENTS))
            msg = f"content={word!r} is not possible: it must be {allowed}, or both in a list."
            raise ParameterError(msg)
        named = [choice for choice in choices if word in choice.casefold()]
        found += named[:1] or [choices[_CONTENTS.index(word)]]
    if parameter.type == "choices":
        return found
    if len(found) != 1:
        msg = f"content={content!r} is not possible: this server takes one of them at a time."
        raise ParameterError(msg)
    return found[0]


def _masked(call: Call, answer: list[Any]) -> PIL.Image.Image:
    """Return the mask in an answer."""
    value = updated_value(answer[0]) if answer else None
    if not isinstance(value, str):
        msg = "The engine found nothing to mask, and answered without an image."
        raise GenerationError(msg)
    return _shown_small(open_data_uri("mask", value).convert("L"))


def _shown_small(mask: PIL.Image.Image) -> PIL.Image.Image:
    """Let notebooks show a mask as a thumbnail; in all else it stays the image that it is."""

    def png() -> bytes:
        small = mask.copy()
        small.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        buffer = io.BytesIO()
        small.save(buffer, "PNG")
        return buffer.getvalue()

    # IPython asks the object, and Pillow would answer with all of it, once for each of the formats.
    mask._repr_png_ = png  # type: ignore[method-assign]
    mask._repr_jpeg_ = lambda: None  # type: ignore[method-assign]
    return mask


def _applied_styles(call: Call, answer: list[Any]) -> list[str] | None:
    """Return the styles that the server would choose on its page for an image."""
    styles = dict(zip(call.targets, map(updated_value, answer), strict=False)).get(STYLES)
    return styles if isinstance(styles, list) else None


def _read(answer: list[Any], image: Any) -> Metadata:
    """Return what the server read; what it did not find may still be in the file."""
    value = updated_value(answer[0]) if answer else None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    answered: dict[str, Any] = value if isinstance(value, dict) else {}
    found, scheme = answered.get("parameters"), answered.get("metadata_scheme")
    if not found:
        return _read_here(image)
    text = found if isinstance(found, str) else json.dumps(found)
    with contextlib.suppress(MetadataError):
        here = _read_here(image)
        if here.text == text:  # the file tells more: whether letters were lost in it
            return here
    return parse_metadata(text, scheme if isinstance(scheme, str) else None)


def _read_here(image: Any) -> Metadata:
    path = getattr(image, "path", image)
    if isinstance(path, (str, os.PathLike)):
        return read_metadata(path)
    msg = f"A {type(image).__name__} has no metadata: give the file that it was read from."
    raise MetadataError(msg)
