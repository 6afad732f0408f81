"""Which of many like cases run every day, and how many examples Hypothesis makes then."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection

#: Set, as the nox session `installed` does, it has Hypothesis make all examples.
ALL_EXAMPLES = "FOOOCUS_NB_ALL_EXAMPLES"
EVERYDAY_SHARE = 4


def examples(number: int, share: int = EVERYDAY_SHARE) -> int:
    """Return how many examples to make now: all, or every day the given share, 1 in `share`."""
    return number if os.environ.get(ALL_EXAMPLES) else max(number // share, 1)


def slow_but(cases: Collection[str], *everyday: str) -> list[Any]:
    """Return cases as parameters, of which all but the named ones run in the slow lane."""
    assert set(everyday) <= set(cases)
    return [
        pytest.param(case, marks=() if case in everyday else pytest.mark.slow) for case in cases
    ]
