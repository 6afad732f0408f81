"""Loading the extension: cheap, complete, and taken back entirely."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "PIL", "anywidget", "gradio_client", "httpx", "ipywidgets", "jupyter_server", "numpy",
    "psutil", "websockets",
}  # fmt: skip

CODE = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
shell.run_line_magic("load_ext", "fooocus_nb")
assert "fooocus" in shell.magics_manager.magics["cell"]
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.splitlines()[-1]


def test_loading_the_extension_loads_nothing_heavy() -> None:
    loaded = json.loads(run(CODE))
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    rooms = {name.split(".")[1] for name in loaded if name.startswith("fooocus_nb.")}
    assert not rooms & {"doctor", "widgets", "fooocus", "results", "supervisor"}
    assert not [name for name in loaded if name.startswith("fooocus_nb.magics.verbs.")]


def test_listing_the_verbs_imports_none() -> None:
    code = CODE + (
        "from fooocus_nb.magics import verbs\n"
        "assert 'start' in verbs.names()\n"
        "print(json.dumps([name for name in sys.modules if '.verbs.' in name]))"
    )
    assert json.loads(run(code)) == []


def test_unloading_takes_everything_back() -> None:
    code = """
import json
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def state():
    manager = shell.input_transformer_manager
    return [len(shell.input_transformers_post), len(manager.cleanup_transforms),
            len(manager.token_transformers), len(shell.Completer.custom_matchers),
            len(shell.events.callbacks["post_run_cell"]),
            len(shell.events.callbacks["pre_execute"]),
            "fooocus" in shell.magics_manager.magics["line"]]
before = state()
shell.run_line_magic("load_ext", "fooocus_nb")
between = state()
shell.run_line_magic("reload_ext", "fooocus_nb")
assert state() == between
shell.run_line_magic("unload_ext", "fooocus_nb")
print(json.dumps([before, state()]))
"""
    before, after = json.loads(run(code))
    assert before == after
