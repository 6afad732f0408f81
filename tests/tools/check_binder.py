"""Open the Binder environment as a visitor's browser would, and run what it opens.

Usage: python tests/tools/check_binder.py bash binder/start
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

START_SECONDS = 60.0
EXPECTED = "/lab/tree/notebooks/01-quickstart.ipynb"


def main(start: list[str]) -> None:
    """Start the server, see where it sends a visitor, and execute that notebook."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    token = secrets.token_hex(16)
    flags = ["--no-browser", "--allow-root", f"--port={port}", f"--IdentityProvider.token={token}"]
    for command in ("jupyter-lab", "jupyter-server"):
        server = subprocess.Popen(
            [*start, str(Path(sys.executable).with_name(command)), *flags],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            landed = _where_it_leads(f"http://127.0.0.1:{port}/?token={token}", server)
        finally:
            server.terminate()
            server.wait(30)
        if landed != EXPECTED:
            sys.exit(f"{command} opens {landed}, not {EXPECTED}")
        print(f"{command} opens {landed}")
    with tempfile.TemporaryDirectory() as folder:
        notebook = Path(EXPECTED.removeprefix("/lab/tree/")).resolve()
        execute = [sys.executable, "-m", "fooocus_nb.cli", "quickstart", "--output", folder]
        subprocess.run([*start, *execute], check=True, timeout=300)
        print(f"{notebook.name} runs there")


def _where_it_leads(url: str, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return urllib.parse.urlsplit(reply.geturl()).path
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    sys.exit("the server does not answer")


if __name__ == "__main__":
    main(sys.argv[1:])
