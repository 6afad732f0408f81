"""Measures: columns of one's own, each a value for every image of a run."""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb import _html
from fooocus_nb.errors import ParameterError, RunWarning, nearest, warn_user
from fooocus_nb.experiment.folder import Position, finite, now
from fooocus_nb.experiment.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fooocus_nb.experiment.protocols import RunView

__all__ = ["Measured", "best", "measure", "measured_table", "measures_of"]

#: Columns that every run has: a measure may not take their names.
RESERVED = frozenset({"image", "number", "cell", "seed", "rating", "note", "file", "state", "run"})
MAX_TEXT = 2_000
#: How many values are written at once: an interrupted measure keeps what it has done.
_BATCH = 50
_NAME = re.compile(r"[^\W\d][\w .-]{0,59}")


@dataclass(frozen=True)
class Measured:
    """One value of a measure: None where it could not be measured, and why."""

    value: Any
    reason: str = ""


def measure(
    run: RunView, name: str, function: Callable[[Any], Any], *, again: bool = False
) -> dict[str, Measured]:
    """Measure all images of a run, and write the values down.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        What the column is called.
    function : callable
        Takes a :class:`RunImage`, and returns a number, a text, True, False or None.
    again : bool, optional
        Whether images that have a value are measured again. Default False.

    Returns
    -------
    dict
        All values by the key of the image.

    Raises
    ------
    ParameterError
        When the name is taken by another column, or `function` cannot be called.
    RunLocked
        When the run can only be read here.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in RESERVED:
        msg = (
            f"name={name!r} cannot be the name of a measure: it must begin with a letter, have 60 "
            f"characters at the most, and be none of: {', '.join(sorted(RESERVED))}."
        )
        raise ParameterError(msg)
    if not callable(function):
        msg = f"function={function!r} must be callable: it takes an image and returns a value."
        raise ParameterError(msg)
    found = {} if again else dict(measures_of(run).get(name, {}))
    waiting: list[dict[str, Any]] = []
    failed: list[str] = []
    try:
        for image in run.images:
            if image.key in found:
                continue
            found[image.key] = measured = _measured(function, image, failed)
            waiting.append(
                {
                    "image": image.key,
                    "measure": name,
                    "value": measured.value,
                    "reason": measured.reason or None,
                    "time": now(),
                }
            )
            if len(waiting) >= _BATCH:
                run.add_measures(waiting)
                waiting = []
    finally:
        run.add_measures(waiting)
    if failed:
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        warn_user(f"measure({name!r}): no value for {failed[0]}{more}.", RunWarning)
    return found


def _measured(function: Callable[[Any], Any], image: Any, failed: list[str]) -> Measured:
    """Measure one image; what goes wrong with it must not end the others."""
    try:
        value = function(image)
    except Exception as error:  # noqa: BLE001 - it is the user's function, and one image of many
        reason = _html.clip(f"{type(error).__name__}: {error}", 200)
        failed.append(f"{image.key} ({reason})")
        return Measured(None, reason)
    return _plain(value)


#: Whole numbers from here on become floats, as tables have them.
_TOO_LARGE = 2**63


def _plain(value: Any) -> Measured:
    """Return a value as JSON has it; NaN and infinity are none, with the reason."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():  # a number of numpy or torch
        value = item()
    if value is None or isinstance(value, bool):
        return Measured(value)
    if isinstance(value, str):
        return Measured(_html.clip(value, MAX_TEXT))
    if isinstance(value, numbers.Integral) and abs(int(value)) < _TOO_LARGE:
        return Measured(int(value))
    if isinstance(value, numbers.Real):
        try:
            number, reason = finite(float(value))
        except OverflowError:
            return Measured(None, "too large a number")
        return Measured(number, reason or "")
    return Measured(None, f"a {type(value).__name__} is no number, text, True or False")


def measures_of(run: RunView) -> dict[str, dict[str, Measured]]:
    """Return all measures by name, then by the key of the image; the last value counts."""
    found: dict[str, dict[str, Measured]] = {}
    for line in run.store.lines("measures", Position()):
        name, key, value = line.get("measure"), line.get("image"), line.get("value")
        if not isinstance(name, str) or not isinstance(key, str):
            continue
        known = value is None or isinstance(value, (bool, int, float, str))
        if isinstance(value, float) and not math.isfinite(value):
            known = False
        measured = Measured(value if known else None, str(line.get("reason") or "")[:MAX_TEXT])
        found.setdefault(name[:60], {})[key] = measured
    return found


def best(run: RunView, by: str, *, count: int | None = None, lowest: bool = False) -> list[Any]:
    """Return the images that have a value, the best first; equal ones in their order.

    Parameters
    ----------
    run : Run
        The run.
    by : str
        ``"rating"``, or the name of a measure.
    count : int, optional
        How many at the most. Default: one.
    lowest : bool, optional
        Whether the lowest value is the best. Default False.

    Returns
    -------
    list of RunImage
        What has no value, or one that is no number, is in no order and left out.

    Raises
    ------
    ParameterError
        When there is no such measure, no image has a value, or `count` is not possible.
    """
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        msg = f"count={count!r} must be a whole number from 1, or None for the best image alone."
        raise ParameterError(msg)
    values = _values(run, by)
    order = sorted(values, key=lambda key: values[key], reverse=not lowest)
    if not order:
        what = "No image is rated" if by == "rating" else f"No image has a number for {by!r}"
        hint = "run.grid() rates with the keys 0 to 5, run.rate(image, 4) from Python."
        msg = f"by={by!r}: {what} yet.{f' {hint}' if by == 'rating' else ''}"
        raise ParameterError(msg)
    return [run.image(key) for key in order[: count or 1]]


def measured_table(run: RunView, name: str, found: Mapping[str, Measured]) -> Table:
    """Return a measure as a table: the images, their values, and why some have none."""
    rows = [
        {"image": key, name: found[key].value, "reason": found[key].reason or None}
        for key in run.images.keys()  # noqa: SIM118 - a sequence of images, which has keys
        if key in found
    ]
    reasons = ["reason"] if any(row["reason"] for row in rows) else []
    return Table(["image", name, *reasons], rows, title=name)


def _values(run: RunView, by: str) -> Mapping[str, float]:
    keys = run.images.keys()
    if by == "rating":
        ratings = {key: run.rating_of(key)[0] for key in keys}
        return {key: rating for key, rating in ratings.items() if rating is not None}
    measures = measures_of(run)
    if by not in measures:
        names = ["rating", *measures]
        msg = (
            f"by={by!r}: there is no such measure. Known: {', '.join(names)}.{nearest(by, names)} "
            "run.measure(name, function) adds one."
        )
        raise ParameterError(msg)
    known = {key: measures[by][key].value for key in keys if key in measures[by]}
    return {
        key: value
        for key, value in known.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
