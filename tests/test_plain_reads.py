"""No file that somebody else may have put there is read as if it were a plain one."""

from __future__ import annotations

import ast
from pathlib import Path

import fooocus_nb

PACKAGE = Path(fooocus_nb.__file__).parent
#: What reads a file whole, whatever it is: a pipe that nobody writes to, or a device without end.
READS = {"read_bytes", "read_text"}
#: Modules that do so all the same, and of what.
ALLOWED = {
    "__init__.py": "our own stub",
    "cli/notebook_run.py": "the notebook that the user names, which was executed before",
    "cli/quickstart.py": "our own page",
    "cli/schemas/__init__.py": "our own schemas",
    "doctor/interpreter.py": "our own probe",
    "doctor/machine.py": "the system's own figures",
    "engine/health.py": "the system's own figures",
    "experiment/manifest.py": "our own schema",
    "experiment/share_page.py": "our own page",
    "install/constraints.py": "our own constraints",
    "install/hardware.py": "the system's own figures",
    "install/packages.py": "our own constraints and our own check",
    "results/output_folder.py": "a plain file of a known size",
    "server/_proxy_rewrite.py": "our own script",
    "server/status.py": "our own document",
    "widgets/_assets.py": "our own scripts",
    "widgets/job_monitor.py": "copies that we have just made",
    "widgets/sweep_monitor.py": "copies that we have just made",
}


def _reads(path: Path) -> list[int]:
    tree = ast.parse(path.read_bytes())
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in READS
    ]


MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}


def test_files_are_read_as_plain_ones() -> None:
    """With read_plain_file of fooocus/plain_files.py."""
    found = {
        module: _reads(path)
        for module, path in MODULES.items()
        # The demo engine is a process of its own, which reads its own files.
        if module not in ALLOWED and not module.startswith("demo/")
    }
    assert {module: lines for module, lines in found.items() if lines} == {}


def test_what_is_allowed_is_still_there() -> None:
    assert [module for module in ALLOWED if not _reads(MODULES[module])] == []
