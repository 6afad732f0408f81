"""Kernels that share engines: processes that a test tells what to do, and can kill."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Runs what it is told, line by line, and answers with what `value` is then.
_LOOP = """
import json, sys, traceback
import fooocus_nb
words = sys.stdin
out, sys.stdout = sys.stdout, sys.stderr
names = {"fooocus_nb": fooocus_nb}
print(json.dumps(None), file=out, flush=True)
for line in words:
    names["value"] = None
    try:
        exec(json.loads(line), names)
        answer = {"value": names["value"]}
    except BaseException as error:
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=out, flush=True)
"""


class Peer:
    """One such kernel."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", _LOOP],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.hear()

    def tell(self, code: str) -> None:
        """Begin something; :meth:`hear` waits for its end."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(code) + "\n")
        self.popen.stdin.flush()

    def hear(self) -> Any:
        """Return the value of what was begun; what it raised is an error here, too."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line, "the kernel has ended"
        answer = json.loads(line)
        if answer is None:
            return None
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def run(self, code: str) -> Any:
        """Do something and return its value."""
        self.tell(code)
        return self.hear()

    def value(self, expression: str) -> Any:
        """Return the value of an expression of plain data."""
        return self.run(f"value = {expression}")

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.popen.kill()
        self.popen.wait(10)

    def close(self) -> None:
        """End it by the end of its input, or else at once."""
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()
        try:
            self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(10)
        self.popen.stdout.close()
