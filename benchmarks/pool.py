"""What four engines make of a sweep beside one: a pool, and a Dask cluster of four processes.

Demo engines draw 128x128 in three steps of 0.16 s each, without previews: they mostly wait, as a
notebook waits for GPUs, so what is missing from four times is ours. All engines are started before
anything is measured, and one and four are taken in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import fooocus_nb

BASE = {"width": 128, "height": 128, "steps": 3, "image_number": 1, "disable_preview": True}
ENV = {"FOOOCUS_DEMO_STEP_SECONDS": "0.16"}
ALLOWED = {"pool": 3.6, "dask": 3.3}


def seconds(who: Any, folder: Path, cells: int) -> float:
    """Make a sweep and return the seconds it took."""
    sweep = fooocus_nb.Sweep(prompt="a lighthouse", seed=range(cells), base=BASE)
    began = time.perf_counter()
    with sweep.run(who, folder, show=False) as run:
        took = time.perf_counter() - began
        assert run.counts["made"] == cells, run.counts
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--engines", type=int, default=4)
    parser.add_argument("--only", choices=[*ALLOWED], help="not the other one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        place = Path(folder)
        settings = {"demo": True, "env": ENV, "output_dir": str(place / "outputs")}
        many: dict[str, Any] = {}
        if options.only != "dask":
            many["pool"] = stack.enter_context(fooocus_nb.Pool(options.engines, **settings))
        if options.only != "pool":
            from distributed import Client, LocalCluster

            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=options.engines,
                    threads_per_worker=1,
                    dashboard_address=None,
                    local_directory=str(place / "dask"),
                )
            )
            client = stack.enter_context(Client(cluster))
            many["dask"] = stack.enter_context(fooocus_nb.Workers(client, **settings))
        one = stack.enter_context(fooocus_nb.start(**settings, share=False))
        times: dict[str, list[float]] = {name: [] for name in ("one", *many)}
        for turn in range(-1, options.turns):  # the first warms up, and starts Dask's engines
            cells = options.cells if turn >= 0 else 3 * options.engines
            for name, who in (("one", one), *many.items()):
                took = seconds(who, place / f"{name}{turn}", cells)
                if turn >= 0:
                    times[name].append(took)
        alone = statistics.median(times["one"])
        print(f"one engine: {alone:.1f} s, {alone / options.cells * 1000:.0f} ms a generation")
        for name in many:
            took = statistics.median(times[name])
            print(
                f"{name} of {options.engines}: {took:.1f} s, {alone / took:.2f} times one "
                f"(at least {ALLOWED[name]} on a quiet machine)"
            )
        print(f"load of the machine: {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
