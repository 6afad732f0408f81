"""What four engines make of a sweep beside one: a pool, and a Dask cluster of four processes.

Demo engines draw 128x128 in three steps of 0.16 s each, without previews: they mostly wait, as a
notebook waits for GPUs, so what is missing from four times is ours. All engines are started before
anything is measured.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fooocus_nb
from benchmarks._table import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = {"width": 128, "height": 128, "steps": 3, "image_number": 1, "disable_preview": True}
ENV = {"FOOOCUS_DEMO_STEP_SECONDS": "0.16"}
ALLOWED = {"pool": 3.6, "dask": 3.3}
NAMES = {"pool": "a pool of {} demo engines", "dask": "a Dask cluster of {} processes"}
ENGINES = 4
CELLS = 100


def seconds(who: Any, folder: Path, cells: int) -> float:
    """Make a sweep and return the seconds it took."""
    sweep = fooocus_nb.Sweep(prompt="a lighthouse", seed=range(cells), base=BASE)
    began = time.perf_counter()
    with sweep.run(who, folder, show=False) as run:
        took = time.perf_counter() - began
        assert run.counts["made"] == cells, run.counts
    return took


def rows(quick: bool) -> Iterator[Row]:
    """Yield how many times as fast as one engine a pool and a Dask cluster are."""
    cells = CELLS // 4 if quick else CELLS
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        place = Path(folder)
        settings = {"demo": True, "env": ENV, "output_dir": str(place / "outputs")}
        many: dict[str, Any] = {"pool": stack.enter_context(fooocus_nb.Pool(ENGINES, **settings))}
        with contextlib.suppress(ImportError):  # without the extra there is only the pool
            many["dask"] = stack.enter_context(workers(stack, place, settings))
        one = stack.enter_context(fooocus_nb.start(**settings, share=False))
        for name, who in {"one": one, **many}.items():
            # Warms up, and starts Dask's engines.
            seconds(who, place / f"run-{name}-first", 3 * ENGINES)
        alone = seconds(one, place / "run-one", cells)
        for name, who in many.items():
            took = seconds(who, place / f"run-{name}", cells)
            yield Row(
                f"a sweep of {cells} cells by {NAMES[name].format(ENGINES)}", cells / took,
                "cells/s", "one engine", cells / alone, Bound("ratio", ALLOWED[name], least=True),
            )  # fmt: skip


def workers(
    stack: contextlib.ExitStack, place: Path, settings: dict[str, Any]
) -> fooocus_nb.Workers:
    """Return the workers of a cluster that ends with the stack."""
    from distributed import Client, LocalCluster

    cluster = stack.enter_context(
        LocalCluster(
            n_workers=ENGINES,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=str(place / "dask"),
        )
    )
    return fooocus_nb.Workers(stack.enter_context(Client(cluster)), **settings)
