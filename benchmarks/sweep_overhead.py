"""What a sweep costs a generation: a bare loop on the wire against the same cells in a sweep.

The demo engine draws 128x128 with no time for a step, so that nearly all that is measured is ours.
Both loops are taken in turns, and the medians of their generations are compared.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import fooocus_nb
from fooocus_nb._background import submit
from fooocus_nb.engine.submission import check_request
from fooocus_nb.experiment.launch import Options, prepare
from fooocus_nb.fooocus.client import Client, new_session_hash

BASE = {"width": 128, "height": 128, "steps": 3, "image_number": 1, "disable_preview": True}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20, help="in each turn")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with fooocus_nb.start(
            demo=True, env={"FOOOCUS_DEMO_STEP_SECONDS": "0"}, output_dir=place / "outputs"
        ) as engine:
            bare: list[float] = []
            swept: list[float] = []
            for turn in range(options.turns + 1):
                seeds = range(turn * options.cells, (turn + 1) * options.cells)
                requests = [
                    dict(check_request(engine, "a lighthouse", {**BASE, "seed": seed}).values)
                    for seed in seeds
                ]
                wire = submit(on_the_wire(str(engine.url), requests)).result(600)
                own = in_a_sweep(engine, place / f"run-{turn}", seeds)
                if turn:  # the first warms up
                    bare += wire
                    swept += own
    one, other = (statistics.median(times) * 1000 for times in (bare, swept))
    print(
        f"on the wire {one:.1f} ms, in a sweep {other:.1f} ms: {other - one:+.1f} ms a generation"
    )
    print(f"allowed: {ALLOWED_MS:g} ms; ratio {other / one:.2f}")


if __name__ == "__main__":
    main()
