"""Checkouts that run the demo engine in place of Fooocus, each other in one respect.

What the engine says and does comes from the table of the demo; what lies outside of it, such as a
model file, is changed here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import fooocus_nb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fooocus_nb import Engine

BASE = "juggernautXL_v8Rundiffusion.safetensors"
REFINER = "realisticStockPhoto_v20.safetensors"
LORA = "sd_xl_offset_example-lora_1.0.safetensors"
MODELS = {
    "checkpoint": f"checkpoints/{BASE}",
    "refiner": f"checkpoints/{REFINER}",
    "lora": f"loras/{LORA}",
    "prompt-lora": "loras/wave.safetensors",
}
FLAGS = {
    "flag-attention": ["--attention-split"],
    "flag-unet": ["--unet-in-fp8-e4m3fn"],
    "flag-vram": ["--always-low-vram"],
    "flag-vae": ["--vae-in-fp32"],
    "idle": ["--disable-server-log"],
}
_LAUNCH = "import sys\nfrom fooocus_nb.demo.__main__ import main\nmain(sys.argv[1:])\n"
_SMI = "#!/bin/sh\necho {driver}\n"
SIZE = {"width": 64, "height": 64, "steps": 1, "image_number": 1, "styles": ["Fooocus Sharp"]}
#: What is generated for each case; all others take the first.
RECIPES = {
    "": {"prompt": "a lighthouse", "sampler_name": "dpmpp_2m_sde"},
    "gpu-noise": {"prompt": "a lighthouse", "sampler_name": "dpmpp_2m_sde_gpu"},
    "hyper": {"prompt": "a lighthouse", "performance": "Hyper-SD"},
    "lora": {"prompt": "a forest", "loras": [(LORA, 0.5)]},
    "prompt-lora": {"prompt": "a forest <lora:wave:0.6>"},
    "refiner": {"prompt": "a forest", "refiner_model": REFINER},
    "expansion": {"prompt": "a boat", "styles": ["Fooocus V2", "Fooocus Sharp"]},
    "no-expansion": {"prompt": "a boat", "styles": ["Fooocus V2", "Fooocus Sharp"]},
    "wildcards": {"prompt": "a __color__ boat"},
    "no-wildcards": {"prompt": "a __color__ boat"},
    "no-sharpness": {"prompt": "a cat", "sharpness": 7},
    "no-freeu": {"prompt": "a cat", "freeu_enabled": True},
    "array": {"prompt": "a [[red, green]] city", "image_number": 2},
    "batch": {"prompt": "a city", "image_number": 2},
}


def make_checkout(folder: Path, changed: tuple[str, ...] = ()) -> Path:
    """Make a checkout with models and a commit."""
    folder.mkdir(parents=True)
    (folder / "launch.py").write_text(_LAUNCH)
    (folder / "fooocus_version.py").write_text("version = '2.5.5'\n")
    (folder / "venv").symlink_to(sys.prefix, target_is_directory=True)
    (folder / ".gitignore").write_text("models\nvenv\noutputs\nconfig*.txt\n*.pyc\n")
    for name, relative in MODELS.items():
        path = folder / "models" / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{name} {'other' if name in changed else 'first'}".encode())
    owner = "someone" if "fork" in changed else "lllyasviel"
    _git(folder, "init", "-q")
    _git(folder, "remote", "add", "origin", f"https://github.com/{owner}/Fooocus.git")
    if "commit" in changed or "fork" in changed:
        (folder / "notes.txt").write_text("another commit")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", "first", "--date", "2026-01-01T00:00:00Z")
    if "changed-files" in changed:
        (folder / "fooocus_version.py").write_text("version = '2.5.5'  # changed\n")
    return folder


def _git(folder: Path, *command: str) -> None:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    environment = {
        "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
    }
    subprocess.run(
        ["git", "-C", str(folder), *names, *command], check=True, timeout=60, env=environment
    )


def set_driver(folder: Path, version: str) -> None:
    """Write a program that says which driver there is."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(_SMI.format(driver=version))
    program.chmod(0o755)


@contextmanager
def engine_of(folder: Path, *changed: str, silent: tuple[str, ...] = ()) -> Iterator[Engine]:
    """Start the engine of a checkout with differences; `silent` ones change no image."""
    effects = ",".join(changed) or "nothing"
    changed = (*changed, *silent)
    flags = [word for name in changed for word in FLAGS.get(name, ())]
    engine = fooocus_nb.start(
        make_checkout(folder / "Fooocus", changed),
        args=flags,
        env={"FOOOCUS_DEMO_STEP_SECONDS": "0", "FOOOCUS_DEMO_DIFFERS": effects},
        output_dir=folder / "outputs",
        name=f"lab-{folder.name}"[:40],
    )  # fmt: skip
    try:
        yield engine
    finally:
        engine.stop()


def make_run(engine: Engine, folder: Path, *recipes: str) -> Path:
    """Generate what recipes say into a run."""
    with fooocus_nb.open_run(folder) as run:
        for name in recipes:
            engine.generate(**{**SIZE, "seed": 7, **RECIPES[name]})
        run.flush()
    return folder
