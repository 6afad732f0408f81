"""A demo engine of its own for each test that asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import fooocus_nb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fooocus_nb import Engine

FAST = {"FOOOCUS_DEMO_STEP_SECONDS": "0"}
SLOW = {"FOOOCUS_DEMO_STEP_SECONDS": "0.1"}


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Start demo engines that are stopped after the test."""
    engines: list[Engine] = []

    def start(*faults: str, slow: bool = False, **options) -> Engine:
        args = [word for fault in faults for word in ("--fault", fault)]
        args += options.pop("args", ())
        options.setdefault("timeout", 30)
        engine = fooocus_nb.start(
            demo=True,
            args=args,
            env=SLOW if slow else FAST,
            output_dir=tmp_path / "images",
            **options,
        )
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.stop()
