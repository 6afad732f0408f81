"""Whether the environment names what an engine can only fail by."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fooocus_nb.doctor.report import Check, Status
from fooocus_nb.fooocus.checkout.command import LEFT_OUT_ADVICE, unusable_variables

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["environment_checks"]


def environment_checks() -> Iterator[Check]:
    """Yield a line ``environment`` for each variable that is not handed on to an engine."""
    for name, reason in unusable_variables(os.environ).items():
        text = f"{reason}; an engine is started without it"
        yield Check(
            "environment", "environment", Status.WARNING, text, LEFT_OUT_ADVICE, {"variable": name}
        )
