"""Demo engines for experiments, and a cache of hashes of the test's own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fooocus_nb
from fooocus_nb.experiment import hashing

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
def start_demo(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Start demo engines that are stopped after the test."""
    engines: list[Engine] = []

    def start(*faults: str, step_seconds: float = 0.0, **options) -> Engine:
        args = [word for fault in faults for word in ("--fault", fault)]
        args += options.pop("args", ())
        options.setdefault("output_dir", tmp_path / "outputs")
        env = {"FOOOCUS_DEMO_STEP_SECONDS": str(step_seconds)}
        engine = fooocus_nb.start(demo=True, args=args, env=env, timeout=60, **options)
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.stop()


@pytest.fixture
def model_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hashing.FileHashes:
    """Hashes that are kept in a file of the test's own."""
    found = hashing.FileHashes(tmp_path / "cache" / "model-hashes.jsonl")
    for module in ("provenance", "recorder"):
        monkeypatch.setattr(f"fooocus_nb.experiment.{module}.file_hashes", lambda: found)
    return found


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
