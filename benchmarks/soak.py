"""2,000 generations with a restart every 100 and random faults: what hangs, stays behind or grows.

Run it with ``python benchmarks/soak.py [--generations N] [--seed S]``. The same seed strikes with
the same faults. The baseline of each figure is the same figure after the first 200 generations.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import signal
import tempfile
import time
import uuid
from dataclasses import dataclass

import psutil

import fooocus_nb
from fooocus_nb import EngineState
from fooocus_nb.errors import EngineError

#: Inherited by all that the engines start, however far it daemonises itself.
MARK = "FOOOCUS_NB_SOAK"
LIFE = 100
WARM_LIVES = 2
#: Longer than anything here may take.
HANG_SECONDS = 120.0
GONE_SECONDS = 10.0
TRUE_SECONDS = 5.0
SIGNAL_SHARE = 0.01
SMALL = {"image_number": 1, "width": 64, "height": 64, "steps": 2}
#: What an engine is born with; each strikes after a random number of images.
BORN_WITH = (
    "crash",
    "segfault",
    "oom-killed",
    "oom",
    "hang",
    "dead-worker=middle",
    "http-dead",
    "bad-bytes",
    "flood=5",
)
#: What comes from outside while it generates: a signal to the engine or to its guardian.
SIGNALS = (
    ("engine", signal.SIGKILL),
    ("engine", signal.SIGSEGV),
    ("engine", signal.SIGSTOP),
    ("guardian", signal.SIGKILL),
    ("guardian", signal.SIGSTOP),
)


@dataclass(frozen=True)
class Sample:
    """What the kernel's side and the guardian hold at one moment."""

    descriptors: int
    threads: int
    rss: float
    guardian_descriptors: int
    guardian_threads: int
    guardian_rss: float

    @classmethod
    def take(cls, engine: fooocus_nb.Engine) -> Sample:
        us, guardian = psutil.Process(), psutil.Process(engine._process.child.guardian_pid)
        return cls(
            us.num_fds(),
            us.num_threads(),
            us.memory_info().rss / 1e6,
            guardian.num_fds(),
            guardian.num_threads(),
            guardian.memory_info().rss / 1e6,
        )

    def row(self) -> str:
        return (
            f"{self.descriptors:>8} {self.threads:>8} {self.rss:>8.1f}   "
            f"{self.guardian_descriptors:>8} {self.guardian_threads:>8} {self.guardian_rss:>8.1f}"
        )


class Soak:
    """The run and its count."""

    def __init__(self, seed: int, folder: str) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.told: collections.Counter[str] = collections.Counter()
        self.done = self.hangs = self.orphans = self.untrue = 0

    def start(self) -> fooocus_nb.Engine:
        born = self.random.choice(BORN_WITH)
        faults = [f"from-image={self.random.randint(20, 90)}", born]
        engine = fooocus_nb.start(
            demo=True,
            name="soak",
            args=[word for fault in faults for word in ("--fault", fault)],
            env={"FOOOCUS_DEMO_STEP_SECONDS": "0", MARK: os.environ[MARK]},
            output_dir=self.folder,
            grace=1.0,
            timeout=60,
        )
        self.tune(engine)
        return engine

    def tune(self, engine: fooocus_nb.Engine) -> None:
        engine.stall_timeout = 3.0
        engine.answer_timeout = 1.0
        engine.watch_interval = 0.2

    def live(self, generations: int) -> Sample:
        """One engine for so many generations, restarted whenever it fails."""
        with self.start() as engine:
            for _ in range(generations):
                self.generate(engine)
                self.done += 1
            if engine.state is not EngineState.READY:
                engine.restart(60)
            sample = Sample.take(engine)
        self.count_orphans()
        return sample

    def generate(self, engine: fooocus_nb.Engine) -> None:
        began = time.monotonic()
        try:
            job = engine.submit("a cat", seed=self.done, **SMALL)
            if self.random.random() < SIGNAL_SHARE:
                self.strike(engine)
            job.result(HANG_SECONDS)
        except EngineError as error:
            self.told[type(error).__name__] += 1
            if time.monotonic() - began >= HANG_SECONDS:
                self.hangs += 1
            # A failure of the generation alone leaves the engine ready; any other one says so.
            # On a busy machine it may come to itself a moment later.
            deadline = time.monotonic() + TRUE_SECONDS
            while (engine.state is EngineState.READY) != engine.health().ok:
                if time.monotonic() > deadline:
                    self.untrue += 1
                    break
                time.sleep(0.05)
            if engine.state is not EngineState.READY:
                engine.restart(60)
                self.tune(engine)

    def strike(self, engine: fooocus_nb.Engine) -> None:
        whom, number = self.random.choice(SIGNALS)
        pid = engine.pid if whom == "engine" else engine._process.child.guardian_pid
        self.told[f"sent {number.name} to the {whom}"] += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def count_orphans(self) -> None:
        deadline = time.monotonic() + GONE_SECONDS
        while (left := list(marked())) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.orphans += len(left)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()


def marked():
    """Yield the processes that the engines have left."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get(MARK) == os.environ[MARK]
            if ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def main() -> None:
    """Print a line for each life, and the count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    args = parser.parse_args()
    print(f"{args.generations} generations, seed {args.seed}")
    os.environ[MARK] = uuid.uuid4().hex
    began = time.monotonic()
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(args.seed, folder)
        print("            kernel                         guardian")
        print("done     descr.   threads  RSS MB    descr.   threads  RSS MB")
        while soak.done < args.generations:
            samples.append(soak.live(min(LIFE, args.generations - soak.done)))
            print(f"{soak.done:<6} {samples[-1].row()}", flush=True)
    report(soak, samples, time.monotonic() - began)


def report(soak: Soak, samples: list[Sample], seconds: float) -> None:
    """Print what was found."""
    first, last = samples[min(WARM_LIVES, len(samples)) - 1], samples[-1]
    print(f"\n{soak.done} generations in {seconds:.0f} s")
    for name, count in sorted(soak.told.items()):
        print(f"  {count:>4}  {name}")
    print(f"hangs {soak.hangs}, orphans {soak.orphans}, states that were not true {soak.untrue}")
    print(f"after {WARM_LIVES * LIFE} generations, at the end, and their ratio:")
    for name in Sample.__dataclass_fields__:
        before, after = getattr(first, name), getattr(last, name)
        print(f"  {name:<22} {before:>8.1f} {after:>8.1f} {after / before:>6.2f}")
    if soak.hangs or soak.orphans or soak.untrue:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
