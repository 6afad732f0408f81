"""What Fooocus's own launch.py does, in the words of the stand-in: serve, and say when ready.

``FLOOD_MEGABYTES`` is how much it prints with each generation. With ``RECORD_CALLS`` what arrives
goes to ``record`` in its temporary folder. The calls that ``FAILING_CALLS``
names run out of memory, and what is printed to stderr comes up to ``LATE_SECONDS`` late.
"""

import json
import os
import queue
import random
import sys
import threading
import time
from pathlib import Path

import gradio3_app

LINES = ("flood " * 20 + "\n") * 8000


class OutOfMemoryError(RuntimeError):
    """Prints as PyTorch's own."""


OutOfMemoryError.__module__ = "torch.cuda"


class Late:
    """A stream that prints what it is given later, in order, and in the pieces that it came in."""

    def __init__(self, stream, seconds):
        self._stream = stream
        self._seconds = seconds
        self._pieces = queue.SimpleQueue()
        threading.Thread(target=self._print, daemon=True).start()

    def write(self, text):
        self._pieces.put(text)
        return len(text)

    def _print(self):
        while True:
            piece = self._pieces.get()
            if piece.startswith("Traceback"):
                time.sleep(random.random() * self._seconds)
            self._stream.write(piece)
            self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)


if "LATE_SECONDS" in os.environ:
    sys.stderr = Late(sys.stderr, float(os.environ["LATE_SECONDS"]))


class Flood(gradio3_app.Recorder):
    """Floods the log with each generation, and fails where it shall."""

    def write(self, **entry):
        if entry["call"] in os.environ.get("FAILING_CALLS", "").split():
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if "RECORD_CALLS" in os.environ:
            super().write(**entry)
        if entry["call"] == "generate":
            for _ in range(int(os.environ.get("FLOOD_MEGABYTES", "0"))):
                print(LINES, end="", flush=True)
            print("Total time: 0.00 seconds", flush=True)


def users():
    """Return the users of auth.json, which a checkout may have."""
    path = Path("auth.json")
    if not path.exists():
        return []
    return [(user["user"], user["pass"]) for user in json.loads(path.read_text())]


# As the app itself reads them; what else a launch.py takes is left alone.
given, _ = gradio3_app.parser().parse_known_args(
    ["--record", "", "--step-seconds", "0", *sys.argv[1:]]
)
blocks = gradio3_app.build(given, Flood(Path(given.temp_path) / "record"))
blocks.queue().launch(
    server_name="127.0.0.1",
    server_port=given.port,
    allowed_paths=[given.temp_path],
    auth=users() or None,
    share=False,
    show_api=False,
    quiet=True,
    prevent_thread_lock=True,
)
print(f"App started successful. Use the app with http://127.0.0.1:{given.port}/", flush=True)
threading.Event().wait()
