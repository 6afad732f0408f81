"""Pictures behind ``%fooocus``: paths and variables, and the verbs that work on them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from fooocus_nb.engine.image_tasks import prompt_of
from fooocus_nb.errors import nearest
from fooocus_nb.fooocus.requests.images import is_url
from fooocus_nb.fooocus.requests.tasks import (
    Enhance,
    EnhanceImage,
    Inpaint,
    Outpaint,
    Upscale,
    Vary,
)
from fooocus_nb.magics.options import PICTURE_VERBS
from fooocus_nb.results import Image, Result

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from fooocus_nb.fooocus.requests.tasks import Task
    from fooocus_nb.magics.parsing import GenerateOptions

__all__ = ["find_picture", "picture_names", "with_pictures"]

_VARIABLE = re.compile(r"([A-Za-z_]\w*)(?:\[(-?\d+)\])?")


def find_picture(text: str, namespace: Mapping[str, Any]) -> Any:
    """Return the picture that a word of a line stands for.

    Parameters
    ----------
    text : str
        A path, a web address, or a variable such as ``boats`` or ``boats[1]``.
    namespace : mapping
        The user's variables.

    Returns
    -------
    object
        A path, an address, or what the variable holds.

    Raises
    ------
    UsageError
        When there is neither a file nor a variable of that name, or the variable holds several
        images.
    """
    if is_url(text) or _is_file(text):
        return text
    found = _VARIABLE.fullmatch(text)
    if found is None or found[1] not in namespace:
        hint = nearest(text, picture_names(namespace))
        msg = f"%fooocus: there is no file and no variable {text!r}.{hint}"
        raise UsageError(msg)
    value = namespace[found[1]]
    if found[2] is not None:
        try:
            return value[int(found[2])]
        except (IndexError, KeyError, TypeError) as error:
            msg = f"%fooocus: {text} is not there: {error}."
            raise UsageError(msg) from None
    if isinstance(value, Result):
        if len(value) != 1:
            msg = f"%fooocus: {text} has {len(value)} images: say which, such as {text}[0]."
            raise UsageError(msg)
        return value[0]
    return value


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long, nobody's home, a null byte
        return False


def picture_names(namespace: Mapping[str, Any]) -> list[str]:
    """Return the user's variables that hold images, each image of a result by its number.

    Parameters
    ----------
    namespace : mapping
        The user's variables.

    Returns
    -------
    list of str
    """
    names: list[str] = []
    for name, value in namespace.items():
        if name.startswith("_"):
            continue
        if isinstance(value, Result) and len(value) > 1:
            names += [f"{name}[{number}]" for number in range(len(value))]
        elif isinstance(value, (Image, Result)) or type(value).__module__.startswith("PIL."):
            names.append(name)
    return names


def with_pictures(options: GenerateOptions, namespace: Mapping[str, Any]) -> GenerateOptions:
    """Return what to generate with the pictures in the place of their names.

    Parameters
    ----------
    options : GenerateOptions
        As the line was read. Where it has no prompt, what made the picture is drawn.
    namespace : mapping
        The user's variables.

    Returns
    -------
    GenerateOptions
        Complete.

    Raises
    ------
    UsageError
        When a picture is not there.
    """
    known, prompt, parameters = options.known, options.prompt, dict(options.parameters)
    if known.image_prompts:
        parameters["image_prompts"] = [find_picture(t, namespace) for t in known.image_prompts]
    if options.verb in PICTURE_VERBS:
        try:
            image = find_picture(known.image, namespace)
        except UsageError as error:
            msg = f"{error} To draw what was written: %fooocus generate {options.verb} ..."
            raise UsageError(msg) from None
        parameters["task"] = _task(options.verb, image, known, namespace)
        prompt = prompt or prompt_of(image)
    return dataclasses.replace(options, prompt=prompt, parameters=parameters)


def _task(verb: str, image: Any, known: argparse.Namespace, namespace: Mapping[str, Any]) -> Task:
    if verb == "upscale":
        return Upscale(image, known.by)
    if verb == "vary":
        return Vary(image, known.strength)
    if verb == "outpaint":
        return Outpaint(image, known.sides)
    if verb == "inpaint":
        mask = find_picture(known.mask, namespace)
        return Inpaint(image, mask, known.mode, known.sides or (), known.invert)
    enhancements = [Enhance(words) for words in known.detect or ()]
    return EnhanceImage(image, enhancements, known.upscale, known.vary)
