"""A sweep from a file: ``plan.toml``, as ``fooocus-nb sweep`` takes it."""

from __future__ import annotations

import contextlib
import dataclasses
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError, nearest
from fooocus_nb.experiment.folder import given_path
from fooocus_nb.experiment.identity import DATA, is_image_name
from fooocus_nb.experiment.sweep import Sweep
from fooocus_nb.experiment.text_forms import expanded
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.requests.images import is_url
from fooocus_nb.fooocus.requests.tasks import (
    Enhance,
    EnhanceImage,
    ImagePrompt,
    Inpaint,
    Outpaint,
    Upscale,
    Vary,
)
from fooocus_nb.fooocus.schema.parameters import canonical_name

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["read_plan"]

#: A plan is written by people; more is some other file.
MAX_BYTES = 4 << 20
_TASKS: Mapping[str, type[Any]] = {
    "enhance": EnhanceImage,
    "inpaint": Inpaint,
    "outpaint": Outpaint,
    "upscale": Upscale,
    "vary": Vary,
}
#: What stands for an object in a list of them.
_PARTS: Mapping[str, type[Any]] = {
    "enhance": Enhance,
    "enhancements": Enhance,
    "image_prompts": ImagePrompt,
}
_KEYS = ("axes", "base", "zip", "exclude", "where", "later", "task", "sample", "sample_seed")
_TABLES = ("axes", "base", "task")
#: Texts in which two dots between numbers are what they are.
_TEXTS = frozenset({"prompt", "negative_prompt"})


def read_plan(path: str | os.PathLike[str]) -> Sweep:
    """Return the sweep that a file describes.

    Parameters
    ----------
    path : path-like
        A TOML file with the tables ``[axes]`` and ``[base]``, and what else :class:`Sweep` takes:
        ``[zip]``, ``[[exclude]]``, ``[[where]]``, ``[[later]]``, ``sample``, and a ``[task]`` with
        ``do = "upscale"``. Files in it are relative to its own folder, and ``"1..4"`` is a range.

    Returns
    -------
    Sweep
        As if it had been written in Python.

    Raises
    ------
    ParameterError
        When it cannot be read, has other names, or the sweep itself cannot be.
    """
    place = given_path(path, "path")
    content = _read(place)
    for key in content:
        if key not in _KEYS:
            known = ", ".join(_KEYS)
            msg = f"{place}: there is no {key!r}.{nearest(key, _KEYS)} There are: {known}."
            raise ParameterError(msg)
    for key in _TABLES:
        if not isinstance(content.get(key, {}), dict):
            msg = f"{place}: {key} must be a table, which begins with the line [{key}]."
            raise ParameterError(msg)
    if not isinstance(content.get("zip", {}), dict) and not _is_tables(content["zip"]):
        msg = f"{place}: zip must be a table, which begins with the line [zip], or several [[zip]]."
        raise ParameterError(msg)
    try:
        return _sweep(content, place.parent)
    except ParameterError as error:
        msg = f"{place}: {error}"
        raise ParameterError(msg) from error


def _sweep(content: Mapping[str, Any], folder: Path) -> Sweep:
    axes = {name: _values(name, value, folder) for name, value in content.get("axes", {}).items()}
    base = {name: _placed(name, value, folder) for name, value in content.get("base", {}).items()}
    groups = content.get("zip", [])
    zipped = [
        {name: _values(name, value, folder) for name, value in group.items()}
        for group in (groups if isinstance(groups, list) else [groups])
    ]
    conditions = {
        name: _condition(content.get(name), folder) for name in ("where", "exclude", "later")
    }
    if "task" in content:
        base["task"] = _task(content["task"], folder)
    for name in ("image", "mask"):  # an axis in any case: a pattern is several files
        if name in base and name not in axes:
            axes[name] = base.pop(name)
    return Sweep(
        base=base,
        zip=zipped or None,
        **conditions,
        sample=content.get("sample"),
        sample_seed=content.get("sample_seed", 0),
        **axes,
    )


def _read(place: Path) -> dict[str, Any]:
    try:
        data = read_plain_file(place, MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"The plan {str(place)!r} cannot be read: {reason}."
        raise ParameterError(msg) from error
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{place} is no TOML file: {error}."
        raise ParameterError(msg) from error


def _values(name: str, value: Any, folder: Path) -> Any:
    """Return the values of an axis, with ranges as their numbers and files where they are."""
    items = value if isinstance(value, list) else [value]
    if is_image_name(canonical_name(name)) or canonical_name(name) in _PARTS:
        return [_placed(name, item, folder) for item in items]
    if canonical_name(name) in _TEXTS:
        return items
    found: list[Any] = []
    for item in items:
        numbers = expanded(item) if isinstance(item, str) else None
        found += [item] if numbers is None else numbers
    return found


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _condition(given: Any, folder: Path) -> Any:
    """Return conditions with ranges as their numbers and files where they are."""
    if isinstance(given, list):
        return [_condition(each, folder) for each in given]
    if isinstance(given, dict):
        return {name: _values(name, value, folder) for name, value in given.items()}
    return given


def _placed(name: str, value: Any, folder: Path) -> Any:
    """Return a value, with a file relative to the plan's folder, and a table as what it stands for.

    ``image_prompts = ["a.png"]`` and ``[{image = "a.png", weight = 0.5}]`` are both possible.
    """
    canonical = canonical_name(name)
    if canonical in _PARTS and isinstance(value, list):
        return [_placed(name, item, folder) for item in value]
    if canonical in _PARTS and isinstance(value, dict):
        return _made(_PARTS[canonical], name, value, folder)
    if not (is_image_name(canonical) or canonical == "image_prompts") or not isinstance(value, str):
        return value
    if is_url(value) or value.startswith(DATA):
        return value
    with contextlib.suppress(RuntimeError):  # an unknown user's home; reading it tells
        return str(folder / Path(value).expanduser())
    return value


def _made(kind: type[Any], name: str, given: Mapping[str, Any], folder: Path) -> Any:
    """Return the object that a table stands for."""
    known = [field.name for field in dataclasses.fields(kind)]
    for each in given:
        if each not in known:
            msg = f"{name}: {kind.__name__} has no {each!r}.{nearest(each, known)}"
            raise ParameterError(msg)
    try:
        return kind(**{each: _placed(each, value, folder) for each, value in given.items()})
    except TypeError as error:
        msg = f"{name}: {kind.__name__} is not possible so: {error}."
        raise ParameterError(msg) from error


def _task(given: Mapping[str, Any], folder: Path) -> Any:
    fields = dict(given)
    do = str(fields.pop("do", "")).casefold()
    kind = _TASKS.get(do)
    if kind is None:
        msg = (
            f"[task] needs do = one of {', '.join(map(repr, _TASKS))}."
            f"{nearest(do, _TASKS) if do else ''}"
        )
        raise ParameterError(msg)
    return _made(kind, "[task]", fields, folder)
