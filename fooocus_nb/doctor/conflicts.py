"""Whether packages that nobody pins fit those that are pinned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fooocus_nb.doctor.report import Check, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["CONFLICTING", "CONFLICTS", "Conflict", "conflict_checks"]


#: The last ones that Gradio 3 runs with.
WEB_PACKAGES = "'starlette<1' 'fastapi<0.113' 'pydantic<2.11'"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two packages that do not run together."""

    package: str  # the one that is too new
    first_bad: tuple[int, ...]
    of: str  # the one that does not know it
    last_bad: tuple[int, ...]
    why: str
    wanted: str  # what to install instead, as pip takes it
    unpinned: bool = False  # a fresh installation fetches the bad one


CONFLICTS = (
    # Starlette 1 takes the request first; Gradio 3 names the template first.
    Conflict(
        "starlette",
        (1,),
        "gradio",
        (3, 9999),
        'every page of the engine would be an error, told as "localhost is not accessible"',
        WEB_PACKAGES,
        unpinned=True,
    ),
    # Its schemas hold bare booleans, which Gradio's client takes for objects.
    Conflict(
        "pydantic",
        (2, 11),
        "gradio",
        (4, 43),
        "the engine's page would be an error",
        WEB_PACKAGES,
    ),
    # Built against numpy 1, up to and with PyTorch 2.2.
    Conflict(
        "numpy",
        (2,),
        "torch",
        (2, 2, 9999),
        'PyTorch could not use it ("Numpy is not available")',
        "'numpy<2'",
    ),
    # Colab's own one, since February 2026: built against numpy 2, beside Fooocus's numpy 1.
    *(
        Conflict(
            name,
            (14,),
            "numpy",
            (1, 9999),
            'importing it fails ("numpy.core.multiarray failed to import"), and the start with it',
            f"'{name}<14'",
        )
        for name in ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
    ),
)
_BY_ITSELF = "launch.py installs {} at the first start. That needs the network."
#: What the interpreter is asked for beside what the checkout pins.
CONFLICTING = tuple(
    dict.fromkeys(name for conflict in CONFLICTS for name in (conflict.package, conflict.of))
)


def conflict_checks(
    found: Mapping[str, str | None], pinned: Mapping[str, str | None]
) -> Iterator[Check]:
    """Yield a line ``packages`` for each conflict that there is, or will be after installing."""
    for conflict in CONFLICTS:
        there = found.get(conflict.package)
        other = pinned.get(conflict.of) or found.get(conflict.of)
        if other is None or _numbers(other) > conflict.last_bad:
            continue
        advice = (
            "Install another one into the engine's environment: "
            f"python -m pip install {conflict.wanted}"
        )
        told = {"package": conflict.package, "version": there, "with": f"{conflict.of} {other}"}
        if there is not None and _numbers(there) >= conflict.first_bad:
            text = f"{conflict.package} {there} does not fit {conflict.of} {other}: {conflict.why}"
            mended = pinned.get(conflict.package)
            if mended is not None and _numbers(mended) < conflict.first_bad:
                yield _check(Status.WARNING, text, _BY_ITSELF.format(mended), told)
            else:
                yield _check(Status.FAILURE, text, advice, told)
        elif _is_yet_to_come(conflict, found, pinned):
            text = (
                f"{conflict.of} {other} does not say which {conflict.package} it needs, and the "
                f"newest one does not fit: {conflict.why}"
            )
            yield _check(Status.WARNING, text, advice, told)


def _is_yet_to_come(
    conflict: Conflict, found: Mapping[str, str | None], pinned: Mapping[str, str | None]
) -> bool:
    """Whether the first start will fetch the bad one: nothing is there, and nobody pins it."""
    pair = (conflict.package, conflict.of)
    return (
        conflict.unpinned
        and not any(found.get(name) for name in pair)
        and pinned.get(conflict.package) is None
    )


def _check(status: Status, text: str, advice: str, told: Mapping[str, str | None]) -> Check:
    return Check("packages", "packages", status, text, advice, told)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, such as ``(2, 1, 0)`` of ``2.1.0+cu121``."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
