"""Runs in the environment of a hosted notebook service, with its old Jupyter: one session.

Starts a real kernel, runs cells, interrupts one, and prints as JSON what came of them.
"""

from __future__ import annotations

import json
import sys
import time

from jupyter_client.manager import start_new_kernel

TIMEOUT = 120
CELLS = {
    "load": "%load_ext fooocus_nb",
    "start": "%fooocus start --demo -- --demo-speed 8",
    "cell": "%%fooocus -n 2 --seed 7 --size 256x256 --steps 3 -o balloons\nhot-air balloons?",
    "value": "[image.seed for image in balloons], all(image.path.is_file() for image in balloons)",
    "line": "%fooocus --size 256x256 --steps 3 a lighthouse",
    "call": (
        "import fooocus_nb\nengine = fooocus_nb.current()\n"
        "small = dict(overwrite_width=256, overwrite_height=256, steps=3)\n"
        "again = engine.generate('a boat', seed=3, **small)\nagain"
    ),
    "monitor": "engine.monitor()",
    "panel": "engine.panel()",
    "gallery": "engine.gallery()",
    "log": "engine.logs()",
    "status": "%fooocus status",
}
AFTERWARDS = {
    "state": "str(engine.state), len(engine.last_result)",
    "after": "engine.generate('a tree', **small)",
    "stop": "%fooocus stop",
    "left": "len(fooocus_nb.engines())",
}


def run(client: object, code: str, *, interrupt: object = None) -> dict:
    """Run a cell and return its outputs, by kind, with the error's name where it failed."""
    found: dict = {"data": [], "text": "", "error": None}
    # Else a kernel drops what comes in the moment after an error.
    message = client.execute(code, stop_on_error=False)
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        reply = client.get_iopub_msg(timeout=TIMEOUT)
        if reply["parent_header"].get("msg_id") != message:
            continue
        kind, content = reply["msg_type"], reply["content"]
        if kind == "stream":
            found["text"] += content["text"]
            if interrupt is not None and "begun" in content["text"]:
                interrupt()
                interrupt = None
        elif kind in ("display_data", "execute_result", "update_display_data"):
            found["data"].append(content["data"])
        elif kind == "error":
            found["error"] = content["ename"]
        elif kind == "status" and content["execution_state"] == "idle":
            return found
    raise TimeoutError(code)


def main() -> None:
    """Run the cells and print what they gave."""
    manager, client = start_new_kernel(startup_timeout=TIMEOUT)
    try:
        found = {name: run(client, code) for name, code in CELLS.items()}
        # After its first image it has nineteen before it: time enough for an interrupt.
        found["interrupted"] = run(
            client,
            "job = engine.submit('a long one', image_number=20, aspect_ratio='1152x896')\n"
            "job.subscribe(lambda event: None)\n"
            "for event in job:\n"
            "    if type(event).__name__ == 'ImageFinished': break\n"
            "print('begun', flush=True)\n"
            "job.result()",
            interrupt=manager.interrupt_kernel,
        )
        found |= {name: run(client, code) for name, code in AFTERWARDS.items()}
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
