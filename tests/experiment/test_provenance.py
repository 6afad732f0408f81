"""What is found out of an engine, its checkout, its models and its log."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

import PIL.Image
import pytest

from fooocus_nb.engine.facts import EngineFacts
from fooocus_nb.experiment import provenance as provenances
from fooocus_nb.experiment.hashing import (
    FileHashes,
    dhash,
    dhash_distance,
    is_whole,
    pixel_facts,
    pixels_sha256,
)
from fooocus_nb.experiment.provenance import (
    find_models,
    find_prompts,
    log_facts,
    log_timings,
    model_path,
    provenance,
    read_checkout,
)
from fooocus_nb.experiment.run import open_run
from fooocus_nb.fooocus.metadata import append_log

from .runs import png

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "fooocus"
GPU_LOG = """\
Python 3.10.9 (tags/v3.10.9:1dd9be6, Dec  6 2022, 20:01:21) [MSC v.1934 64 bit (AMD64)]
Fooocus version: 2.5.5
pytorch version: 2.1.0+cu121
xformers version: 0.0.23
Total VRAM 24564 MB, total RAM 65277 MB
Set vram state to: NORMAL_VRAM
Always offload VRAM
Device: cuda:0 NVIDIA GeForce RTX 4090 : native
VAE dtype: torch.bfloat16
Using pytorch cross attention
Using pytorch attention in VAE
"""


def test_what_a_log_says_of_its_system() -> None:
    assert log_facts(GPU_LOG.splitlines()) == {
        "python": "3.10.9",
        "torch": "2.1.0+cu121",
        "cuda": "12.1",
        "xformers": "0.0.23",
        "total_vram_mb": 24564,
        "vram_state": "NORMAL_VRAM",
        "always_offload": True,
        "device": "cuda:0 NVIDIA GeForce RTX 4090 : native",
        "gpu": "NVIDIA GeForce RTX 4090",
        "vae_dtype": "torch.bfloat16",
        "attention": "pytorch cross attention",
        "vae_attention": "pytorch attention",
    }
    assert log_facts(["", "noise", "Device: cpu"]) == {"device": "cpu", "gpu": None}


@pytest.mark.recorded
def test_what_a_real_log_says() -> None:
    text = (RECORDINGS / "log" / "2.5.5-session.log").read_text(encoding="utf-8")
    found = log_facts(text.splitlines()[:60])
    assert found["vram_state"] == "DISABLED"
    assert found["attention"] == "sub quadratic optimization for cross attention"
    assert found["python"] == "3.11.7"
    assert found["gpu"] is None
    timings = log_timings(text.splitlines()[:80])
    assert timings == {"preparation": 11.76, "images": [19.31], "total": 31.09}


# -- the checkout ---------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A Fooocus in git, as far as it is looked at."""
    folder = tmp_path / "Fooocus"
    folder.mkdir()
    (folder / "launch.py").write_text("")
    (folder / "fooocus_version.py").write_text("version = '2.5.5'\n")
    return folder


def git(folder: Path, *command: str) -> str:
    names = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *names, *command],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_its_fork_and_whether_it_was_changed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_checkout(checkout) == {"fork": None, "commit": None, "dirty": None}
    git(checkout, "init", "-q", "-b", "main")
    git(checkout, "remote", "add", "origin", "https://me:secret@github.com/lllyasviel/Fooocus.git")
    git(checkout, "add", "launch.py", "fooocus_version.py")
    git(checkout, "commit", "-q", "-m", "x")
    commit = git(checkout, "rev-parse", "HEAD")
    expected = {"fork": "lllyasviel/Fooocus", "commit": commit, "dirty": False}
    assert read_checkout(checkout) == expected
    (checkout / "config.txt").write_text("{}")  # settings and models are no change
    assert read_checkout(checkout) == expected
    (checkout / "launch.py").write_text("import os\n")
    assert read_checkout(checkout) == {**expected, "dirty": True}
    # Without git itself the commit can still be read, loose and packed.
    monkeypatch.setattr(provenances.shutil, "which", lambda _name: None)
    assert read_checkout(checkout) == {"fork": None, "commit": commit, "dirty": None}
    monkeypatch.undo()
    git(checkout, "pack-refs", "--all")
    monkeypatch.setattr(provenances.shutil, "which", lambda _name: None)
    assert read_checkout(checkout)["commit"] == commit


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_no_program_of_the_checkouts_own_is_started(checkout: Path, tmp_path: Path) -> None:
    """A checkout from somewhere may name a program that git would run to look for changes."""
    git(checkout, "init", "-q")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "x")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    git(checkout, "config", "core.fsmonitor", str(trap))
    assert read_checkout(checkout)["commit"]
    assert not (tmp_path / "sprung").exists()


def facts_in(checkout: Path, log: Path | None = None, pid: int = 7) -> EngineFacts:
    return EngineFacts(
        name="a", owned=True, demo=False, version="2.5.5", url=None, checkout=checkout,
        flags=("--always-low-vram", "--hf-token", "hf_abcdefghijklmnopqrst"), preset="anime",
        python=checkout / "venv" / "bin" / "python", log_path=log, pid=pid,
    )  # fmt: skip


def test_the_engine_of_a_checkout(checkout: Path, tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("the newest\n")
    (tmp_path / "engine.log.1").write_text("newer\n")
    (tmp_path / "engine.log.2").write_text(GPU_LOG.replace("pytorch version", "x"))
    torch = checkout / "venv" / "lib" / "python3.10" / "site-packages" / "torch"
    torch.mkdir(parents=True)
    (torch / "version.py").write_text("__version__ = '2.4.1+cu124'\ncuda: Optional[str] = '12.4'\n")
    found = provenance(facts_in(checkout, log))
    assert found.fooocus == {
        "version": "2.5.5", "fork": None, "commit": None, "dirty": None, "preset": "anime",
        "flags": ["--always-low-vram", "--hf-token", "***"],
    }  # fmt: skip
    assert (found.system["torch"], found.system["cuda"]) == ("2.4.1+cu124", "12.4")
    assert found.system["gpu"] == "NVIDIA GeForce RTX 4090"
    assert found.engine == {"name": "a", "demo": False, "owned": True}


# -- the models -----------------------------------------------------------------------------------


def model_file(checkout: Path, kind: str, name: str, data: bytes = b"weights") -> Path:
    path = checkout / "models" / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_the_models_that_parameters_name(checkout: Path, model_hashes: FileHashes) -> None:
    base = model_file(checkout, "checkpoints", "sub/base.safetensors", b"base")
    lora = model_file(checkout, "loras", "line.safetensors", b"lora")
    parameters = {
        "prompt": "a cat <lora:line:0.5> <lora:gone:1>",
        "base_model": "sub\\base.safetensors",  # as Windows lists it
        "refiner_model": "None",
        "lora_1_model": "line.safetensors",
        "lora_1_enabled": True,
        "lora_2_model": "line.safetensors",
        "lora_2_enabled": False,
        "vae_name": "Default (model)",
        "performance_selection": "Hyper-SD",
    }
    for path in (base, lora):
        assert model_hashes.wait(path, 20) == hashlib.sha256(path.read_bytes()).hexdigest()
    found = {(model.parameter, model.name): model for model in find_models(parameters, checkout)}
    assert list(found) == [
        ("base_model", "sub\\base.safetensors"),
        ("lora_1_model", "line.safetensors"),
        ("prompt", "line"),
        ("prompt", "gone"),
        ("performance_selection", "sdxl_hyper_sd_4step_lora.safetensors"),
    ]
    assert (
        found["base_model", "sub\\base.safetensors"].sha256 == hashlib.sha256(b"base").hexdigest()
    )
    assert found["prompt", "line"].sha256 == hashlib.sha256(b"lora").hexdigest()
    assert "no such file" in str(found["prompt", "gone"].reason)
    for name in ("../../../etc/passwd", "/etc/passwd", ""):
        assert model_path(name, [checkout / "models" / "checkpoints"]) is None


def test_a_file_is_hashed_once_and_anew_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    read: list[str] = []
    real = FileHashes._hashed

    def counted(self: FileHashes, key: tuple[str, int, int]) -> str | None:
        read.append(key[0])
        return real(self, key)

    monkeypatch.setattr(FileHashes, "_hashed", counted)
    cache = tmp_path / "cache" / "hashes.jsonl"
    one = hashlib.sha256(b"one").hexdigest()
    assert FileHashes(cache).wait(path, 20) == one
    assert FileHashes(cache).find(path)[0] == one  # another kernel
    assert FileHashes(cache).known("model", 3, path.stat().st_mtime_ns) == one
    assert len(read) == 1
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert FileHashes(cache).wait(path, 20) == hashlib.sha256(b"two").hexdigest()
    assert len(read) == 2
    cache.write_bytes(b"\x00garbage\n{}\n[1]\n" + cache.read_bytes())
    assert FileHashes(cache).wait(path, 20) == hashlib.sha256(b"two").hexdigest()
    assert FileHashes(cache).wait(tmp_path / "gone", 1) is None


def test_a_manifest_gets_the_hash_that_was_not_known_in_time(
    tmp_path: Path, checkout: Path, model_hashes: FileHashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model_file(checkout, "checkpoints", "base.safetensors")
    gate = threading.Event()
    real = FileHashes._hashed

    def late(self: FileHashes, key: tuple[str, int, int]) -> str | None:
        gate.wait(20)
        return real(self, key)

    monkeypatch.setattr(FileHashes, "_hashed", late)
    run = open_run(tmp_path / "run")
    attempt = run.recorder.begin("a")
    values = {"prompt": "x", "base_model": "base.safetensors", "image_number": 1}
    attempt.sent(values, facts=facts_in(checkout))
    attempt.add_image("a.png", png())
    attempt.made()
    assert not run.recorder.flush(0.3)
    assert next(run.manifests).models[0].sha256 is None
    gate.set()
    assert run.recorder.flush(20)
    (model,) = next(run.manifests).models
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (model.bytes, model.mtime_ns) == (7, path.stat().st_mtime_ns)
    run.close()


# -- what is said of a generation -----------------------------------------------------------------


def test_the_prompt_after_wildcards_comes_from_the_log_page(tmp_path: Path) -> None:
    page = tmp_path / "log.html"
    for number in range(60):
        append_log(page, f"{number}.png", {"prompt": f"cat {number}", "seed": str(number)})
    lines = [
        "[Fooocus] Preparing Fooocus text #1 ...",
        "[Prompt Expansion] cat 58, wide view",
        "[Fooocus] Preparing Fooocus text #2 ...",
        "[Prompt Expansion] cat 59, quiet",
        f"Image generated with private log at: {page}",
    ]
    files = [(tmp_path / f"{number}.png", f"{number}.png", number - 57) for number in (58, 59)]
    found = find_prompts(lines, files, local=True)
    assert [one.prompt for one in found] == ["cat 58", "cat 59"]
    assert [one.expansion for one in found] == ["cat 58, wide view", "cat 59, quiet"]
    # Of a server elsewhere no path is followed.
    assert [one.prompt for one in find_prompts(lines, files, local=False)] == [None, None]
    page.write_text("<div>cut sho")
    assert [one.prompt for one in find_prompts(lines, files, local=True)] == [None, None]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_pixels_are_the_same_whatever_file_they_stand_in(tmp_path: Path, form: str) -> None:
    image = PIL.Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 50).convert("RGB")
    path = tmp_path / "image"
    image.save(path, form)
    data = path.read_bytes()
    found = pixel_facts(data)
    with PIL.Image.open(path) as opened:
        assert found.pixels_sha256 == pixels_sha256(opened.convert("RGB"))
    assert (found.width, found.height, found.format) == (40, 30, form.lower())
    assert dhash_distance(found.dhash, dhash(image)) <= 6
    assert dhash_distance("0" * 16, "f" * 16) == 64
    if form == "PNG":
        assert found.pixels_sha256 == pixels_sha256(image)
        assert found.pixels_sha256 != pixels_sha256(image.transpose(PIL.Image.Transpose.ROTATE_180))
        with_alpha = image.copy()
        with_alpha.putalpha(255)
        assert pixels_sha256(with_alpha) != found.pixels_sha256
    assert is_whole(data)
    assert not is_whole(data[:-20])
