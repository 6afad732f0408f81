"""What Fooocus's own launch.py does, in the words of the stand-in: serve, and say when ready.

``FLOOD_MEGABYTES`` is how much it prints with each generation.
"""

import json
import os
import sys
import threading
from pathlib import Path

import gradio3_app

LINES = ("flood " * 20 + "\n") * 8000


class Flood(gradio3_app.Recorder):
    """Floods the log with each generation."""

    def write(self, **entry):
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
