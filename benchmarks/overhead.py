"""What a generation costs beside a bare loop on the wire: by itself, and as a cell of a sweep.

The demo engine draws 128x128 with no time for a step, so that nearly all that is measured is ours.
All loops are taken in turns, and the medians of their generations are compared.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import fooocus_nb
from benchmarks._table import Bound, Row
from fooocus_nb._background import submit
from fooocus_nb.engine.submission import check_request
from fooocus_nb.experiment.launch import Options, prepare
from fooocus_nb.fooocus.client import Client, new_session_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = {"width": 128, "height": 128, "steps": 3, "image_number": 1, "disable_preview": True}
CELLS = 20
TURNS = 5
ALLOWED_MS = 10.0


async def on_the_wire(url: str, requests: list[dict]) -> list[float]:
    """Send requests one after the other, and nothing else; return the seconds of each."""
    times = []
    async with await Client.connect(url) as client:
        for values in requests:
            began = time.perf_counter()
            async for _ in client.generate(values, session_hash=new_session_hash()):
                pass
            times.append(time.perf_counter() - began)
    return times


def in_a_sweep(engine: fooocus_nb.Engine, folder: Path, seeds: range) -> list[float]:
    """Make the same as a sweep; return the seconds between the ends of its cells."""
    ends: list[float] = []
    sweep = fooocus_nb.Sweep(prompt="a lighthouse", seed=seeds, base=BASE)
    began = time.perf_counter()

    def watch(progress) -> None:
        nonlocal began
        began = time.perf_counter()
        progress.subscribe(
            lambda place: (
                ends.append(time.perf_counter())
                if place >= 0 and progress.states()[place] == "made"
                else None
            )
        )

    launch = prepare(sweep, engine, folder, Options(show=False, watch=watch))
    launch.finish().close()
    return [end - start for start, end in zip([began, *ends], ends, strict=False)]


def by_itself(engine: fooocus_nb.Engine, seeds: range) -> list[float]:
    """Make the same by ``engine.generate``; return the seconds of each."""
    times = []
    for seed in seeds:
        began = time.perf_counter()
        engine.generate("a lighthouse", seed=seed, **BASE)
        times.append(time.perf_counter() - began)
    return times


def rows(quick: bool) -> Iterator[Row]:
    """Yield ``engine.generate`` and a cell of a sweep, each beside the wire."""
    bare: list[float] = []
    alone: list[float] = []
    swept: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with fooocus_nb.start(
            demo=True, share=False, env={"FOOOCUS_DEMO_STEP_SECONDS": "0"},
            output_dir=place / "outputs",
        ) as engine:  # fmt: skip
            for turn in range((1 if quick else TURNS) + 1):
                seeds = range(turn * CELLS, (turn + 1) * CELLS)
                requests = [
                    dict(check_request(engine, "a lighthouse", {**BASE, "seed": seed}).values)
                    for seed in seeds
                ]
                wire = submit(on_the_wire(str(engine.url), requests)).result(600)
                mine = by_itself(engine, seeds)
                own = in_a_sweep(engine, place / f"run-{turn}", seeds)
                if turn:  # the first warms up
                    bare += wire
                    alone += mine
                    swept += own
    wire_ms, alone_ms, swept_ms = (statistics.median(found) * 1e3 for found in (bare, alone, swept))
    beside, bound = (
        "the same request on the wire, and nothing else",
        Bound("difference", ALLOWED_MS),
    )
    yield Row("a generation of 128x128 in no time", alone_ms, "ms", beside, wire_ms, bound)
    yield Row(
        "that generation as a cell of a sweep, with its manifest",
        swept_ms,
        "ms",
        beside,
        wire_ms,
        bound,
    )
