"""Measure everything, and print one table: ``python -m benchmarks``.

    python -m benchmarks --only drain --only start     these alone
    python -m benchmarks --quick                       fewer and shorter runs, to try it out
    python -m benchmarks --write                       the table into docs/benchmarks.md

Each figure stands beside a baseline that is measured in the same run. It exits with 1 where a bound
was missed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from pathlib import Path

from benchmarks._table import Row, circumstances, markdown

#: The modules of this folder, in the order of the table.
NAMES = (
    "drain",
    "start",
    "kill_latency",
    "messages",
    "overhead",
    "load_ext",
    "watch",
    "experiment_index",
    "pool",
    "thumbnails",
    "run_grid",
    "shared_page",
    "memory",
)
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- table -->", "<!-- /table -->"


def measure(names: list[str], quick: bool) -> tuple[list[Row], list[str]]:
    """Return the rows of these, and the names of those that failed."""
    found: list[Row] = []
    failed = []
    for name in names:
        began = time.monotonic()
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        try:
            rows = list(importlib.import_module(f"benchmarks.{name}").rows(quick))
        # One that can't be measured here, such as without a browser, doesn't cost the others.
        except (Exception, SystemExit):  # noqa: BLE001
            print(file=sys.stderr)
            traceback.print_exc()
            failed.append(name)
            continue
        found += rows
        print(f" {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found, failed


def write(text: str) -> None:
    """Put the table between the marks of its page."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Measure, print, and write where that is wanted."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help="this one")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument(
        "--generations", type=int, help="how many the memory is watched over (default 3,000)"
    )
    parser.add_argument("--write", action="store_true", help=f"write it into {PAGE.name}, too")
    options = parser.parse_args()
    if options.generations:
        importlib.import_module("benchmarks.memory").GENERATIONS = options.generations
    rows, failed = measure(options.only or list(NAMES), options.quick)
    kind = "\nA quick run: fewer and shorter measurements." if options.quick else ""
    text = f"{circumstances()}{kind}\n\n{markdown(rows)}"
    print(text)
    if options.write:
        if options.only or failed:
            raise SystemExit("only a whole table is written: without --only and failures")
        write(text)
    missed = [row.what for row in rows if not row.ok]
    for name in failed:
        print(f"not measured: {name}", file=sys.stderr)
    for what in missed:
        print(f"above its bound: {what}", file=sys.stderr)
    return int(bool(missed or failed))


if __name__ == "__main__":
    sys.exit(main())
