"""One demo engine for the tests of sweeps, and folders for their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import fooocus_nb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fooocus_nb import Engine


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A demo engine that needs no time for a step, for all tests of a module."""
    engine = fooocus_nb.start(
        demo=True,
        env={"FOOOCUS_DEMO_STEP_SECONDS": "0"},
        output_dir=tmp_path_factory.mktemp("outputs"),
    )
    yield engine
    engine.stop()


@pytest.fixture
def start_demo(tmp_path: object) -> Iterator[Callable[..., Engine]]:
    """Start demo engines with faults, which are stopped after the test."""
    engines: list[Engine] = []

    def start(*faults: str, step_seconds: float = 0.0, **options) -> Engine:
        args = [word for fault in faults for word in ("--fault", fault)]
        engines.append(
            fooocus_nb.start(
                demo=True,
                args=[*args, *options.pop("args", ())],
                env={"FOOOCUS_DEMO_STEP_SECONDS": str(step_seconds)},
                output_dir=f"{tmp_path}/outputs",
                **options,
            )
        )
        return engines[-1]

    yield start
    for engine in engines:
        engine.stop()
