"""Checkouts of several versions, interpreters and an `nvidia-smi`, all of our own making."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LAUNCH = """
from modules.loader import load_file_from_url
small_files = [("tiny.pth", "https://example.org/tiny.pth")]
other_table = [("never.pth", "https://example.org/never.pth")]

def download(folder):
    for file_name, url in small_files:
        load_file_from_url(url=url, model_dir=folder, file_name=file_name)
    load_file_from_url(url="https://example.org/fooocus_expansion.bin", model_dir=folder,
                       file_name="pytorch_model.bin")
raise SystemExit("this is never run by a test")
"""
#: In the form in which 2.2 and later read their settings.
CONFIG = """
import numbers
values = {}

def read_folder(key, default_value, as_array=False, make_directory=False):
    return values.get(key, default_value)

def read(key, default_value, validator=None, expected_type=None):
    return values.get(key, default_value)

checkpoints = read_folder('path_checkpoints', ['../models/checkpoints/'], True)
loras = read_folder('path_loras', ['../models/loras/'], True)
outputs = read_folder('path_outputs', '../outputs/', make_directory=True)
model = read(key='default_model', default_value='big.safetensors', expected_type=str)
steps = read(key='default_steps', default_value=30, expected_type=int)
cfg = read(key='default_cfg', default_value=7.0, expected_type=numbers.Number)
flag = read(key='default_flag', default_value=False, expected_type=bool)
styles = read(key='default_styles', default_value=['a'], expected_type=list)
downloads = read(key='checkpoint_downloads', default_value={}, expected_type=dict)
computed = read(key='computed', default_value=len(styles))
"""
#: In that of 2.0 and 2.1.
OLD_PATHS = """
values = {}

def read(key, default):
    return values.get(key, default)

modelfile_path = read('modelfile_path', '../models/checkpoints/')
temp_outputs_path = read('temp_outputs_path', '../outputs/')
"""
REQUIREMENTS = "torchsde==0.2.6\ngradio==3.41.2\n# a comment\n\n"
PRESET = {
    "default_model": "big.safetensors",
    "checkpoint_downloads": {"big.safetensors": "https://example.org/big.safetensors"},
    "lora_downloads": {
        "sd_xl_offset_example-lora_1.0.safetensors": "https://example.org/offset.safetensors"
    },
    "previous_default_models": ["older.safetensors"],
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout as of today, with all models and no config.txt."""
    root = tmp_path / "Fooocus"
    for folder in ("modules", "presets", "outputs", "models/checkpoints", "models/loras"):
        (root / folder).mkdir(parents=True)
    (root / "launch.py").write_text(LAUNCH)
    (root / "fooocus_version.py").write_text("version = '2.5.5'\n")
    (root / "modules/config.py").write_text(CONFIG)
    (root / "requirements_versions.txt").write_text(REQUIREMENTS)
    (root / "presets/default.json").write_text(json.dumps(PRESET))
    for name in ("checkpoints/big.safetensors", "tiny.pth", "pytorch_model.bin"):
        (root / "models" / name).write_bytes(b"x")
    (root / "models/loras/sd_xl_offset_example-lora_1.0.safetensors").write_bytes(b"x")
    return root


def make_old(checkout: Path) -> Path:
    """Turn a checkout into one of an early version."""
    (checkout / "fooocus_version.py").write_text("version = '2.0.80'\n")
    (checkout / "modules/config.py").unlink()
    (checkout / "modules/path.py").write_text(OLD_PATHS)
    (checkout / "presets/default.json").unlink()
    return checkout


def script(path: Path, text: str) -> Path:
    """Write a shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


TORCH = """
__version__ = "2.1.0+cu121"
class cuda:
    class properties:
        name, major, minor, total_memory = "A Card", 8, 6, 24 * 10**9
    is_available = staticmethod(lambda: {cuda})
    get_device_properties = staticmethod(lambda index: cuda.properties)
    get_arch_list = staticmethod(lambda: {built!r})
class backends:
    pass
"""


@dataclass
class Interpreter:
    """A Python with packages of our choice."""

    path: Path
    site: Path

    def has(self, name: str, version: str) -> None:
        """Give it a package, as far as its metadata tell."""
        folder = self.site / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")

    def torch(self, source: str) -> None:
        """Give it a PyTorch that does what it is told when it is imported."""
        (self.site / "torch.py").write_text(source)


@pytest.fixture
def interpreter(checkout: Path, tmp_path: Path) -> Interpreter:
    """The interpreter of the checkout: all is there, and PyTorch has a GPU."""
    site = tmp_path / "site"
    site.mkdir()
    path = script(
        checkout / "venv/bin/python",
        f'PYTHONPATH="{site}" exec "{sys.executable}" -S "$@"',
    )
    made = Interpreter(path, site)
    made.has("torchsde", "0.2.6")
    made.has("gradio", "3.41.2")
    made.torch(TORCH.format(cuda=True, built=["sm_80", "sm_90"]))
    return made


@pytest.fixture
def programs(tmp_path: Path, monkeypatch) -> Path:
    """A folder that the PATH begins with."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def gpu(programs: Path) -> Callable[..., Path]:
    """Make an `nvidia-smi` that says what it is told."""

    def make(says: str = "A Card, 535.1, 24576, 24000", code: int = 0, before: str = "") -> Path:
        return script(programs / "nvidia-smi", f"{before}\ncat <<'END'\n{says}\nEND\nexit {code}")

    make()
    return make


_all_processes = psutil.process_iter
_MARK = "FOOOCUS_NB_TEST_SESSION"


def _own_processes() -> Iterator[psutil.Process]:
    """Yield the processes that this run of the tests has started."""
    for process in _all_processes():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == os.environ[_MARK]:
                yield process


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch) -> None:
    """Keep other people's engines and settings out of sight."""
    for name, variable in (("runtime", "XDG_RUNTIME_DIR"), ("temp", "TMPDIR")):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setattr("tempfile.tempdir", None)
    # Other runs of the tests start and kill engines on this machine, too.
    monkeypatch.setattr("psutil.process_iter", _own_processes)
    monkeypatch.delenv("FOOOCUS_HOME", raising=False)
    monkeypatch.delenv("config_path", raising=False)
