"""Runs that no engine made, for all that only looks at them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fooocus_nb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fooocus_nb.experiment.run import Run


@pytest.fixture
def made_run(tmp_path) -> Iterator[Callable[..., Run]]:
    """Make and open a run over the product of axes; see ``made_run.py``."""
    spec = importlib.util.spec_from_file_location(
        "made_run", Path(__file__).with_name("made_run.py")
    )
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
