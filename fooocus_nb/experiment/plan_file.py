"""A sweep from a file: ``plan.toml``, as ``fooocus-nb sweep`` takes it."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError, nearest
from fooocus_nb.experiment.identity import is_image_name
from fooocus_nb.experiment.sweep import Sweep
from fooocus_nb.experiment.text_forms import expanded
from fooocus_nb.fooocus.requests.tasks import EnhanceImage, Inpaint, Outpaint, Upscale, Vary
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
    place = Path(path).expanduser()
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
    folder = place.parent
    axes = {name: _values(name, value, folder) for name, value in content.get("axes", {}).items()}
    base = {name: _placed(name, value, folder) for name, value in content.get("base", {}).items()}
    groups = content.get("zip", [])
    zipped = [
        {name: _values(name, value, folder) for name, value in group.items()}
        for group in (groups if isinstance(groups, list) else [groups])
        if isinstance(group, dict)
    ]
    if "task" in content:
        base["task"] = _task(content["task"], folder, place)
    for name in ("image", "mask"):  # an axis in any case: a pattern is several files
        if name in base and name not in axes:
            axes[name] = base.pop(name)
    try:
        return Sweep(
            base=base,
            zip=zipped or None,
            **{name: content.get(name) for name in ("where", "exclude", "later", "sample")},
            sample_seed=content.get("sample_seed", 0),
            **axes,
        )
    except ParameterError as error:
        msg = f"{place}: {error}"
        raise ParameterError(msg) from error


def _read(place: Path) -> dict[str, Any]:
    try:
        with place.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"The plan {str(place)!r} cannot be read: {reason}."
        raise ParameterError(msg) from error
    if len(data) > MAX_BYTES:
        msg = f"{place} has more than {MAX_BYTES >> 20} MB: it is no plan."
        raise ParameterError(msg)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{place} is no TOML file: {error}."
        raise ParameterError(msg) from error


def _values(name: str, value: Any, folder: Path) -> Any:
    """Return the values of an axis, with ranges as their numbers and files where they are."""
    items = value if isinstance(value, list) else [value]
    if is_image_name(canonical_name(name)):
        return [_placed(name, item, folder) for item in items]
    if canonical_name(name) in _TEXTS:
        return items
    found: list[Any] = []
    for item in items:
        numbers = expanded(item) if isinstance(item, str) else None
        found += [item] if numbers is None else numbers
    return found


def _placed(name: str, value: Any, folder: Path) -> Any:
    """Return a value, with a file relative to the plan's folder."""
    if is_image_name(canonical_name(name)) and isinstance(value, str) and "://" not in value:
        return str(folder / Path(value).expanduser())
    return value


def _task(given: Mapping[str, Any], folder: Path, place: Path) -> Any:
    fields = dict(given)
    do = str(fields.pop("do", "")).casefold()
    kind = _TASKS.get(do)
    if kind is None:
        msg = (
            f"{place}: [task] needs do = one of {', '.join(map(repr, _TASKS))}."
            f"{nearest(do, _TASKS) if do else ''}"
        )
        raise ParameterError(msg)
    known = [field.name for field in dataclasses.fields(kind)]
    for name in fields:
        if name not in known:
            msg = f"{place}: the task {do!r} has no {name!r}.{nearest(name, known)}"
            raise ParameterError(msg)
    return kind(**{name: _placed(name, value, folder) for name, value in fields.items()})
