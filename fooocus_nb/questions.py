"""What an engine can be asked beside a generation: a description, a mask, a file's metadata."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import os
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fooocus_nb._loop import await_future, run_sync, submit
from fooocus_nb._parts import EngineParts
from fooocus_nb.errors import (
    ConnectionLost,
    EngineError,
    EngineTimeout,
    GenerationError,
    MetadataError,
    ParameterError,
    UnsupportedParameter,
)
from fooocus_nb.failures import DEATH_LAG_SECONDS, diagnosed, explained_loss, loss
from fooocus_nb.fooocus.diagnosis import diagnose
from fooocus_nb.fooocus.images import open_data_uri
from fooocus_nb.fooocus.metadata import parse_metadata, read_metadata
from fooocus_nb.fooocus.progress import updated_value
from fooocus_nb.fooocus.request import wire_value
from fooocus_nb.fooocus.urls import download, refuse_url
from fooocus_nb.lifecycle import EngineState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    import PIL.Image

    from fooocus_nb.engine import Engine
    from fooocus_nb.fooocus.calls import Call
    from fooocus_nb.fooocus.metadata import Metadata
    from fooocus_nb.fooocus.parameter import Parameter

__all__ = ["Description", "Questions"]

T = TypeVar("T")

_GONE = (EngineState.DEAD, EngineState.STOPPING, EngineState.STOPPED)
#: What pictures are described as, and the word by which the page's choice is known.
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
    """A prompt that describes a picture.

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


class Questions(EngineParts):
    """The methods of an Engine that look at a picture."""

    def describe(self, image: Any, content: str | Sequence[str] = "photo") -> Description:
        """Let the engine say what a picture shows.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The picture.
        content : {"photo", "anime"} or both in a list
            What it is like. Default ``"photo"``.

        Returns
        -------
        Description
            A prompt, which is text with an attribute `styles`.

        Raises
        ------
        ParameterError
            When it is no picture, or `content` is something else.
        EngineError
            When the engine cannot say.
        """
        return self._ask("describe", self._describe_values(image, content), self._described)

    async def adescribe(self, image: Any, content: str | Sequence[str] = "photo") -> Description:
        """Let the engine say what a picture shows and await it; see :meth:`describe`."""
        return await self._aask("describe", self._describe_values(image, content), self._described)

    def make_mask(
        self,
        image: Any,
        model: str | None = None,
        *,
        detect: str | None = None,
        cloth: str | None = None,
        sam_model: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        max_detections: int | None = None,
        dino_erode_or_dilate: int | None = None,
        debug: bool | None = None,
    ) -> PIL.Image.Image:
        """Let the engine find what to paint in a picture.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The picture.
        model : str, optional
            Who finds it; by default the server's own, or ``"sam"`` where `detect` is given.
        detect : str, optional
            What to find, in words; for the model ``sam``.
        cloth : {"full", "upper", "lower"}, optional
            For the model ``u2net_cloth_seg``.
        sam_model : str, optional
            Such as ``"vit_b"``.
        box_threshold, text_threshold : float, optional
            From 0 to 1: how sure the model must be.
        max_detections : int, optional
            How many at most; 0 is all.
        dino_erode_or_dilate : int, optional
            Pixels by which what was detected shrinks (below 0) or grows.
        debug : bool, optional
            Let the server show what it detected instead of the mask.

        Returns
        -------
        PIL.Image.Image
            Of mode L and the picture's size, white where it is found: a mask for
            :meth:`Engine.inpaint`.

        Raises
        ------
        ParameterError
            When a value is not possible.
        EngineError
            When the engine fails.
        """
        settings = {
            "model": model,
            "detect": detect,
            "cloth": cloth,
            "sam_model": sam_model,
            "box_threshold": box_threshold,
            "text_threshold": text_threshold,
            "max_detections": max_detections,
            "dino_erode_or_dilate": dino_erode_or_dilate,
            "debug": debug,
        }
        return self._ask("make_mask", self._mask_values(image, settings), _masked)

    async def amake_mask(
        self, image: Any, model: str | None = None, **settings: Any
    ) -> PIL.Image.Image:
        """Let the engine find what to paint and await it; see :meth:`make_mask`."""
        values = self._mask_values(image, {"model": model, **settings})
        return await self._aask("make_mask", values, _masked)

    def read_metadata(self, image: Any) -> Metadata:
        """Let the engine read how a picture was made.

        Without a server :func:`fooocus_nb.read_metadata` does the same; it is also what is used
        where this server cannot, or finds nothing.

        Parameters
        ----------
        image : path-like, bytes or Image
            The picture's file. Pixels in memory have no metadata.

        Returns
        -------
        Metadata
            Its `parameters` go into :meth:`Engine.generate`.

        Raises
        ------
        MetadataError
            When there is nothing in it.
        """
        if "read_metadata" not in self._client.schema.verbs:
            return _read_here(image)
        values = self._checked("read_metadata", {_image_of(self._call("read_metadata")): image})
        return self._ask("read_metadata", values, lambda call, answer: _read(answer, image))

    async def aread_metadata(self, image: Any) -> Metadata:
        """Let the engine read how a picture was made and await it; see :meth:`read_metadata`."""
        return await asyncio.to_thread(self.read_metadata, image)

    # -- what is sent -----------------------------------------------------------------------

    def _fetch(self, name: str, url: str) -> bytes:
        """Return the bytes behind a web address, if that is allowed."""
        if not (self.allow_urls or self.allow_private_urls):
            refuse_url(name, url)
        return download(name, url, private=self.allow_private_urls)

    def _call(self, verb: str) -> Call:
        return self._client.schema.verb(verb)

    def _checked(self, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was given as the server takes it."""
        schema, call = self._client.schema, self._call(verb)
        values = {}
        for name, value in given.items():
            parameter = call.own.get(name) or schema.parameters[name]
            values[name] = wire_value(parameter, value, self._fetch)
        return values

    def _describe_values(self, image: Any, content: Any) -> dict[str, Any]:
        call = self._call("describe")
        given = {_image_of(call): image}
        kind = next((p for p in call.own.values() if p.type in ("choice", "choices")), None)
        if kind is not None:
            given[kind.name] = _contents(kind, content)
        return self._checked("describe", given)

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
            parameter = call.own.get(theirs) or self._client.schema.parameters[theirs]
            values[theirs] = dataclasses.replace(parameter, name=ours).check(value)
        return values

    # -- asking -----------------------------------------------------------------------------

    def _ask(self, verb: str, values: Mapping[str, Any], read: Callable[[Call, list[Any]], T]) -> T:
        """Ask, wait for the answer and read it. `values` are as they are sent."""
        return read(self._call(verb), run_sync(self._answer(verb, values), math.inf))

    async def _aask(
        self, verb: str, values: Mapping[str, Any], read: Callable[[Call, list[Any]], T]
    ) -> T:
        call = self._call(verb)
        return read(call, await await_future(submit(self._answer(verb, values))))

    async def _answer(self, verb: str, values: Mapping[str, Any]) -> list[Any]:
        """Ask on the background loop: in turn with the jobs if the server would queue it, too."""
        turn = self._slot if self._call(verb).queued else contextlib.nullcontext()
        async with turn:
            return await self._watched(self._client.ask(verb, values), verb)

    async def _watched(self, work: Coroutine[Any, Any, list[Any]], verb: str) -> list[Any]:
        """Run `work` until it ends, the engine is gone, or nothing has moved for too long."""
        engine = cast("Engine", self)
        lines: list[str] = []
        moved = time.monotonic()

        def take(line: str) -> None:
            nonlocal moved
            moved = time.monotonic()
            lines.append(line)

        remove = self._listen(take)
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=0.5)
                if self.state in _GONE and not task.done():
                    raise await explained_loss(engine)
                if time.monotonic() - moved > self.stall_timeout:
                    raise self._stalled(verb)
            return await task
        except ConnectionLost:
            await self._await_end()
            if self.state in _GONE:
                raise loss(engine) from None
            raise
        except (GenerationError, EngineError) as error:
            found = diagnose(lines) if self.owned else None
            if found is None:
                raise
            raise diagnosed(engine, found) from error
        finally:
            remove()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _await_end(self) -> None:
        """Give a process that has just ended the time to show it."""
        deadline = time.monotonic() + DEATH_LAG_SECONDS
        while self.owned and self.state not in _GONE and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def _stalled(self, verb: str) -> EngineTimeout:
        msg = (
            f"Engine {self.name!r} has shown no sign of life for {self.stall_timeout:g} s after it "
            f"was asked to {verb.replace('_', ' ')}."
        )
        return EngineTimeout(msg, log=self.tail(5), remedy="engine.restart() starts it anew.")

    # -- what is answered -------------------------------------------------------------------

    def _described(self, call: Call, answer: list[Any]) -> Description:
        values = dict(zip(call.targets, map(updated_value, answer), strict=False))
        prompt, styles = values.get("prompt"), values.get("style_selections")
        if not isinstance(prompt, str):
            msg = f"Engine {self.name!r} did not describe the picture."
            raise GenerationError(msg, log=self.tail(5))
        return Description(prompt, styles if isinstance(styles, list) else ())


def _image_of(call: Call) -> str:
    """Return the name of the picture that a call takes."""
    own = [parameter.name for parameter in call.own.values() if parameter.is_image]
    return own[0] if own else next(name for name in call.inputs if name and "image" in name)


def _contents(parameter: Parameter, content: Any) -> Any:
    """Return the page's words for what a picture is like."""
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
        msg = "The engine found nothing to mask, and answered without a picture."
        raise GenerationError(msg)
    return open_data_uri("mask", value).convert("L")


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
    return parse_metadata(text, scheme if isinstance(scheme, str) else None)


def _read_here(image: Any) -> Metadata:
    path = getattr(image, "path", image)
    if isinstance(path, (str, os.PathLike)):
        return read_metadata(path)
    msg = f"A {type(image).__name__} has no metadata: give the file that it was read from."
    raise MetadataError(msg)
