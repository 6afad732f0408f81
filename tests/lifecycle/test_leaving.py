"""Two kernels share an engine: one leaves while the other generates and is busy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).parents[2] / "benchmarks" / "leave.py"


def test_ten_rounds_of_leaving_end_well():
    done = subprocess.run(
        [sys.executable, str(SOAK), "10", "0"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "10 of 10 rounds ended well" in done.stdout
