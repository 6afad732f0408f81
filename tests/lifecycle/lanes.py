"""Which of many like cases run every day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection


def slow_but(cases: Collection[str], *everyday: str) -> list[Any]:
    """Return cases as parameters, of which all but the named ones run in the slow lane."""
    assert set(everyday) <= set(cases)
    return [
        pytest.param(case, marks=() if case in everyday else pytest.mark.slow) for case in cases
    ]
