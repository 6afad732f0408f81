"""The index in memory goes with the run that it belongs to."""

from __future__ import annotations

import gc
import sqlite3
from typing import TYPE_CHECKING

import pytest

from fooocus_nb import open_run

if TYPE_CHECKING:
    from pathlib import Path


def test_it_serves_a_closed_run_and_closes_with_the_last_who_has_it(tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        database = run.index._database
    assert len(run.images) == 0
    database.execute("SELECT 1")
    del run
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")
