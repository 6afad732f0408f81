"""A sweep whose kernel or engine is killed at random moments is made whole by running it again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from fooocus_nb import Run, open_run

if TYPE_CHECKING:
    from pathlib import Path

#: Starts an engine, says its id, and makes what is missing.
KERNEL = """
import json, os, sys
import fooocus_nb
folder, cells = sys.argv[1], int(sys.argv[2])
engine = fooocus_nb.start(demo=True, output_dir=os.path.join(folder, "..", "outputs"))
print(json.dumps({"engine": engine.pid}), flush=True)
base = {"width": 64, "height": 64, "steps": 3, "image_number": 1}
run = fooocus_nb.Sweep(prompt="a lighthouse", seed=range(cells), base=base).run(engine, folder)
run.close()
engine.stop()
print("done", flush=True)
"""
STEP_SECONDS = 0.03
WAIT_SECONDS = 120.0


class Kernel:
    """A process that makes the sweep, and may be killed at any moment."""

    def __init__(self, folder: Path, cells: int) -> None:
        self._folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", KERNEL, str(folder), str(cells)],
            env=os.environ | {"FOOOCUS_DEMO_STEP_SECONDS": str(STEP_SECONDS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.engine = psutil.Process(json.loads(self.process.stdout.readline())["engine"])

    def sent(self) -> int:
        """How many attempts are written down in the run."""
        try:
            text = (self._folder / "attempts.jsonl").read_text()
        except FileNotFoundError:
            return 0
        return text.count('"event":"sent"')

    def wait_sent(self, count: int) -> bool:
        """Wait until so many attempts are written down; False where it ended before."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.sent() < count:
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, "the sweep does not move"
            time.sleep(0.005)
        return True

    def kill(self) -> None:
        """Kill it, and wait until its engine has gone with it."""
        self.process.kill()
        self.process.communicate(timeout=WAIT_SECONDS)
        psutil.wait_procs([self.engine], timeout=WAIT_SECONDS)

    def finish(self) -> None:
        """Wait until it has made everything."""
        out, _ = self.process.communicate(timeout=WAIT_SECONDS)
        assert out.strip().endswith("done")


def make_with_kills(folder: Path, cells: int, kills: int, rng: random.Random) -> int:
    """Run the sweep until it is whole, killing kernel and engine in turn; return how often."""
    done = 0
    kernel = Kernel(folder, cells)
    while done < kills:
        # Further on each time: there is something left to be made at the last kill, too.
        target = kernel.sent() + 1 + rng.randrange(max(cells // kills, 1))
        if not kernel.wait_sent(target):
            break
        time.sleep(rng.random() * STEP_SECONDS * 6)  # the random moment itself
        done += 1
        if done % 2 == 0 and kernel.engine.is_running():
            # The kernel restarts it, and makes the cell again.
            os.kill(kernel.engine.pid, signal.SIGKILL)
            continue
        kernel.kill()
        if done % 3 == 0:
            (folder / "index.sqlite").unlink(missing_ok=True)
        check_files(folder)
        kernel = Kernel(folder, cells)
    kernel.finish()
    return done


def check_files(folder: Path) -> None:
    """No manifest is torn, whatever else a kill has left."""
    for path in (folder / "manifests").glob("*.json"):
        json.loads(path.read_bytes())


def check_whole(folder: Path, cells: int, kills: int) -> None:
    """Every cell has one image, and there is nothing that no manifest lists."""
    run = open_run(folder)
    try:
        assert run.counts == {
            "planned": cells, "made": cells, "failed": 0, "skipped": 0, "missing": 0,
        }  # fmt: skip
        assert sorted(image.seed for image in run.images) == list(range(cells))
        per_cell = Counter(image.cell for image in run.images)
        assert set(per_cell.values()) == {1}
        manifests = list(run.manifests)
        complete = Counter(m.cell for m in manifests if m.complete)
        assert set(complete.values()) == {1}
        check_listed(run, folder)
        sent = Kernel.sent_in(folder)
        assert cells <= sent <= cells + kills
        tries = {m.cell: m.tries for m in manifests if m.complete}
        assert sum(tries.values()) <= sent
    finally:
        run.close()


def check_listed(run: Run, folder: Path) -> None:
    listed = {image.path for manifest in run.manifests for image in manifest.images}
    there = {f"images/{path.name}" for path in (folder / "images").iterdir()}
    assert there == listed
    assert {path.name for path in (folder / "manifests").iterdir()} == {
        manifest.name for manifest in run.manifests
    }
    assert not list(folder.rglob(".part-*"))


def sent_in(folder: Path) -> int:
    return (folder / "attempts.jsonl").read_text().count('"event":"sent"')


Kernel.sent_in = staticmethod(sent_in)


def test_a_sweep_survives_three_kills(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    kills = make_with_kills(folder, 9, 3, random.Random(4))
    assert kills == 3
    check_whole(folder, 9, kills)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_of_sixty_survives_twenty_kills(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    seed = random.randrange(10**6)
    print(f"the kills come by random.Random({seed})")
    kills = make_with_kills(folder, 60, 20, random.Random(seed))
    assert kills == 20
    check_whole(folder, 60, kills)
