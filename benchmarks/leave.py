"""Two kernels share an engine, and one leaves while the other generates and is busy.

Run it with ``python benchmarks/leave.py [ROUNDS [LOAD]]``; 200 rounds, the default, take some 20
minutes on two processors, for which as many processes compete that do nothing else. The two take
turns in leaving. A round is well when the generation has its image and the engine is the same
process as before; the first that is not ends the run, with what the kernel has said.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 200
#: A generation takes about a second, so that the other one leaves within it.
STEP_SECONDS = "0.02"
#: How long after the generation's begin the other one leaves, at most.
LATEST_SECONDS = 0.8

KERNEL = """
import json, os, sys, threading
import fooocus_nb

def join():
    global engine
    engine = fooocus_nb.start(demo=True, share=True, name="shared", output_dir=sys.argv[1])
    return engine.pid

def leave():
    engine.stop()

def generate(seed):
    over = threading.Event()
    def hold():  # the interpreter, for a while in one call of C code
        while not over.is_set():
            sum(range(3_000_000))
    busy = threading.Thread(target=hold)
    busy.start()
    try:
        result = engine.generate("a lighthouse", seed=seed, performance="Lightning", image_number=1)
    finally:
        over.set()
        busy.join()
    os.kill(engine.pid, 0)
    return [len(result), engine.pid]

out, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    name, *arguments = json.loads(line)
    print(json.dumps(globals()[name](*arguments)), file=out, flush=True)
"""


class Kernel:
    """A process that uses the engine and does what it is told."""

    def __init__(self, folder: str, environment: dict[str, str]) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-c", KERNEL, folder],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, *command: object) -> None:
        """Give a command."""
        self._popen.stdin.write(json.dumps(command) + "\n")
        self._popen.stdin.flush()

    def end(self) -> Any:
        """Wait for its result."""
        line = self._popen.stdout.readline()
        if not line:
            raise SystemExit("a kernel has failed; what it said stands above")
        return json.loads(line)

    def run(self, *command: object) -> Any:
        """Give a command and wait for its result."""
        self.begin(*command)
        return self.end()

    def close(self) -> None:
        """End it, and with the last one the engine."""
        self._popen.stdin.close()
        try:
            self._popen.wait(30)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


@contextlib.contextmanager
def load(processes: int) -> Iterator[None]:
    """Keep processors busy."""
    command = [sys.executable, "-I", "-S", "-c", "while True: pass"]
    burners = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def main() -> None:
    """Run the rounds."""
    given = [int(word) for word in sys.argv[1:]]
    rounds, processes = [*given, *(ROUNDS, os.cpu_count() or 1)[len(given) :]]
    chance = random.Random(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, load(processes), contextlib.ExitStack() as stack:
        environment = os.environ | {
            "FOOOCUS_NB_RUNTIME_DIR": str(Path(folder, "run")),
            "FOOOCUS_DEMO_STEP_SECONDS": STEP_SECONDS,
        }
        kernels = [Kernel(folder, environment) for _ in range(2)]
        for kernel in kernels:
            stack.callback(kernel.close)
        pids = {kernel.run("join") for kernel in kernels}
        for number in range(1, rounds + 1):
            stays, leaves = kernels if number % 2 else reversed(kernels)
            stays.begin("generate", number)
            time.sleep(chance.uniform(0, LATEST_SECONDS))
            leaves.run("leave")
            images, pid = stays.end()
            pids |= {pid, leaves.run("join")}
            if images != 1 or len(pids) != 1:
                raise SystemExit(f"round {number}: {images} images; engines {sorted(pids)}")
            print(f"\r{number} of {rounds} rounds ended well", end="", flush=True)
    print(f", in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
