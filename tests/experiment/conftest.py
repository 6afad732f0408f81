"""Demo engines for the tests of sweeps, and runs that no engine made for what looks at them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fooocus_nb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fooocus_nb import Engine, Run


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


@pytest.fixture
def made_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Make and open a run over the product of axes; see ``made_run.py``."""
    path = Path(__file__).with_name("made_run.py")
    spec = importlib.util.spec_from_file_location("made_run", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    opened = []

    def make(name: str = "lighthouse", **options) -> Run:
        run = fooocus_nb.open_run(module.make_run(tmp_path / name, **options))
        opened.append(run)
        return run

    yield make
    for run in opened:
        run.close()
