"""Two kernels share an engine: one leaves while the other generates and is busy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "leave.py"


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_rounds_of_leaving_end_well(rounds):
    done = subprocess.run(
        [sys.executable, str(SOAK), str(rounds), "0"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{rounds} of {rounds} rounds ended well" in done.stdout
