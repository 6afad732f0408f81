"""What an engine is told of the process that uses it."""

from __future__ import annotations

import subprocess
import sys

import pytest

IDENTITY = "0123abcd-0000-0000-0000-000000000001"
TOLD = """
from traitlets.config import Application
from fooocus_nb.engine.names import kernel_id, user_label
user_label()
print(kernel_id() or "none", Application._instance and type(Application._instance).__name__)
"""


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("", "none None"),
        # Looking makes no application where there is none.
        ("import ipykernel.connect", "none None"),
        (
            "import ipykernel.connect\n"
            "from jupyter_server.serverapp import ServerApp\nServerApp.instance()",
            "none ServerApp",
        ),
        (
            "from ipykernel.kernelapp import IPKernelApp\n"
            f"IPKernelApp.instance(connection_file='/x/kernel-{IDENTITY}.json')",
            f"{IDENTITY} IPKernelApp",
        ),
    ],
)
def test_the_kernel_is_told_only_where_there_is_one(before: str, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{TOLD}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == (told, 0), done.stderr
