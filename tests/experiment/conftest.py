"""Demo engines for experiments, and a cache of hashes of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import fooocus_nb
from fooocus_nb.experiment import hashing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fooocus_nb import Engine


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Start demo engines that are stopped after the test."""
    engines: list[Engine] = []

    def start(*faults: str, step_seconds: float = 0.0, **options) -> Engine:
        args = [word for fault in faults for word in ("--fault", fault)]
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
