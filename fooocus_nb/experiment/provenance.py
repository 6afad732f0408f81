"""What is known of how an image was made beside its parameters: engine, checkout, models, logs."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import fooocus_nb
from fooocus_nb._secrets import redact, redact_words
from fooocus_nb.engine.health import ask_nvidia_smi
from fooocus_nb.errors import MetadataError
from fooocus_nb.experiment.hashing import file_hashes
from fooocus_nb.experiment.manifest import ModelRecord
from fooocus_nb.fooocus.checkout.config_txt import read_settings
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.metadata import parse_log, read_metadata
from fooocus_nb.fooocus.performance import own_loras
from fooocus_nb.fooocus.plain_files import ANY_SIZE, open_plain_file, read_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fooocus_nb.engine.facts import EngineFacts

__all__ = [
    "Prompts",
    "Provenance",
    "complete_models",
    "find_models",
    "find_prompts",
    "is_unhashed",
    "known_again",
    "known_facts",
    "log_facts",
    "log_timings",
    "model_path",
    "provenance",
    "read_checkout",
    "software",
]

GIT_TIMEOUT = 10.0
SMI_TIMEOUT = 5.0
#: What an engine says of itself stands within its first lines.
HEAD_BYTES = 256 << 10
#: A repository of a hundred thousand branches has less.
MAX_PACKED_BYTES = 16 << 20
#: The newest entries of a log page come first, some 10 KB each.
PAGE_HEAD, PAGE_ENTRY = 64 << 10, 32 << 10
#: What an engine's log says of its system, by the name in the manifest: the last line counts.
_SYSTEM = {
    "python": re.compile(r"^Python (\d\S*)"),
    "torch": re.compile(r"^(?:pytorch|torch) version: (\S+)", re.IGNORECASE),
    "xformers": re.compile(r"^xformers version: (\S+)", re.IGNORECASE),
    "total_vram_mb": re.compile(r"^Total VRAM (\d+) MB"),
    "vram_state": re.compile(r"^Set vram state to: (\w+)"),
    "device": re.compile(r"^Device: (.+?)\s*$"),
    "vae_dtype": re.compile(r"^VAE dtype: (\S+)"),
    "attention": re.compile(r"^Using (.+? (?:optimization for )?cross attention)\b"),
    "vae_attention": re.compile(r"^Using (.+? attention) in VAE"),
}
_OFFLOAD = "Always offload VRAM"
_GPU = re.compile(r"^cuda:\d+ (?P<name>.+?)(?: : \S+)?$")
_FLOAT = r"(\d+(?:\.\d+)?)"
_PREPARATION = re.compile(rf"^Preparation time: {_FLOAT} seconds")
_IMAGE_TIME = re.compile(rf"^Generating and saving time: {_FLOAT} seconds")
_TOTAL = re.compile(rf"^Total time: {_FLOAT} seconds")
_TEXT_NUMBER = re.compile(r"^\[Fooocus\] Preparing Fooocus text #(\d+)")
_EXPANSION = re.compile(r"^\[Prompt Expansion\] (.*)$", re.DOTALL)
_LOG_PAGE = re.compile(r"^Image generated with private log at: (.+?)\s*$")
_PROMPT_LORA = re.compile(r"<lora:([^:<>]{1,200}):[-+\d.]+>")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_REMOTE = re.compile(r"(?:[:/])([^/:\s]+/[^/\s]+?)(?:\.git)?/?$")
_SUFFIXES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin", ".fooocus.patch")
_MAX_MODEL_FILES = 100_000


@dataclass(frozen=True)
class Provenance:
    """What an engine is, as a manifest holds it."""

    #: Version, fork, commit, dirtiness, flags and preset.
    fooocus: Mapping[str, Any] = field(default_factory=dict)
    #: torch, CUDA, driver, GPU, VRAM state, attention, Python.
    system: Mapping[str, Any] = field(default_factory=dict)
    #: Its name, and whether it is the demo engine and ours.
    engine: Mapping[str, Any] = field(default_factory=dict)


def software() -> dict[str, Any]:
    """Return our own version, and the Python and platform of this kernel."""
    return {
        "fooocus_nb": fooocus_nb.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }


# -- the engine -----------------------------------------------------------------------------------

_lock = threading.Lock()
#: What took a look at files and programs, by what it was of.
_cache: dict[tuple[Any, ...], dict[str, Any]] = {}
_MAX_CACHED = 64


def known_facts(facts: EngineFacts) -> Provenance:
    """Return what is known of an engine without looking at anything."""
    return Provenance(
        fooocus={
            "version": facts.version,
            "fork": None,
            "commit": None,
            "dirty": None,
            "flags": redact_words(facts.flags),
            "preset": facts.preset,
        },
        engine={"name": facts.name, "demo": facts.demo, "owned": facts.owned},
    )


def provenance(facts: EngineFacts) -> Provenance:
    """Return all that can be found out of an engine; it may take seconds, for the first time."""
    known = known_facts(facts)
    system = _cached(("system", facts.log_path, facts.pid), lambda: _system(facts))
    if facts.checkout is None:
        return Provenance(known.fooocus, system, known.engine)
    folder = facts.checkout
    # The dirtiness may change while it runs, but what runs is what was there at its start.
    checkout = _cached(("checkout", folder, facts.pid), lambda: read_checkout(folder))
    return Provenance({**known.fooocus, **checkout}, system, known.engine)


def _cached(key: tuple[Any, ...], find: Any) -> dict[str, Any]:
    with _lock:
        if key in _cache:
            return _cache[key]
    found: dict[str, Any] = find()
    with _lock:
        while len(_cache) >= _MAX_CACHED:
            del _cache[next(iter(_cache))]
        _cache[key] = found
    return found


def read_checkout(checkout: Path) -> dict[str, Any]:
    """Return fork, commit and dirtiness of a checkout; None for what it doesn't tell."""
    found: dict[str, Any] = {"fork": None, "commit": None, "dirty": None}
    if not (checkout / ".git").exists():  # an archive that was unpacked
        return found
    remote = _git(checkout, "config", "--get", "remote.origin.url")
    if remote and (name := _REMOTE.search(redact(remote.strip()))):
        found["fork"] = name[1]
    commit = (_git(checkout, "rev-parse", "HEAD") or "").strip() or _head(checkout / ".git")
    if commit and _COMMIT.fullmatch(commit):
        found["commit"] = commit
        # Files that git doesn't know are models, outputs and settings.
        status = _git(checkout, "status", "--porcelain", "--untracked-files=no")
        found["dirty"] = None if status is None else bool(status.strip())
    return found


def _git(checkout: Path, *command: str) -> str | None:
    """Return what git says; None where it isn't there, refuses, or takes too long."""
    git = shutil.which("git")
    if git is None:
        return None
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            # No program that the checkout's own configuration names is started.
            [git, "-C", str(checkout), "-c", "core.fsmonitor=false", *command],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=GIT_TIMEOUT,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _packed(git: Path) -> str:
    return read_plain_file(git / "packed-refs", MAX_PACKED_BYTES).decode("utf-8")


def _head(git: Path) -> str | None:
    """Return the commit that is checked out, without git."""
    try:
        head = read_plain_file(git / "HEAD", HEAD_BYTES).decode("ascii").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        loose = git.joinpath(*PurePath(name).parts)
        if ".." not in PurePath(name).parts and loose.is_file():
            return read_plain_file(loose, HEAD_BYTES).decode("ascii").strip()
        for line in _packed(git).splitlines():
            commit, _, packed = line.partition(" ")
            if packed == name:
                return commit
    except (OSError, ValueError):
        pass
    return None


def _system(facts: EngineFacts) -> dict[str, Any]:
    found = log_facts(_log_head(facts.log_path)) if facts.log_path is not None else {}
    for name in ("torch", "cuda", "driver", "gpu", "vram_state", "attention", "python"):
        found.setdefault(name, None)
    if facts.python is not None:
        torch, cuda = _torch(facts.python)
        found["torch"] = found["torch"] or torch
        found["cuda"] = found["cuda"] or cuda
    if facts.owned and not facts.demo and found["gpu"] is not None:
        found["driver"] = _driver()
    return found


def log_facts(lines: Iterable[str]) -> dict[str, Any]:
    """Return what the first lines of an engine's log say of its system."""
    found: dict[str, Any] = {}
    for line in lines:
        for name, pattern in _SYSTEM.items():
            if match := pattern.match(line):
                found[name] = int(match[1]) if name.endswith("_mb") else match[1]
        if line.startswith(_OFFLOAD):
            found["always_offload"] = True
    if (device := found.get("device")) is not None:
        gpu = _GPU.match(device)
        found["gpu"] = gpu["name"] if gpu else None
    if (torch := found.get("torch")) is not None and "+cu" in torch:
        digits = torch.partition("+cu")[2]
        found["cuda"] = f"{digits[:-1]}.{digits[-1]}" if digits.isdigit() else None
    return found


def _log_head(path: Path) -> list[str]:
    """Return the first lines of an engine's log, from the oldest of its files."""
    oldest = path
    for number in range(1, 100):
        older = path.with_name(f"{path.name}.{number}")
        if not older.exists():
            break
        oldest = older
    try:
        with open_plain_file(oldest, ANY_SIZE) as file:
            text = file.read(HEAD_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    return re.split(r"[\r\n]+", text)


def _torch(python: Path) -> tuple[str | None, str | None]:
    """Return the version of torch beside an interpreter, and of its CUDA; nothing is imported."""
    homes = [python.parent.parent, python.parent]
    for home in homes:
        places = [home / "Lib" / "site-packages", *sorted(home.glob("lib/python3*/site-packages"))]
        for place in places:
            with contextlib.suppress(OSError, ValueError):
                text = read_plain_file(place / "torch" / "version.py", 100_000).decode()
                version = re.search(
                    r"^__version__\s*(?::\s*\w+\s*)?=\s*'([^']+)'", text, re.MULTILINE
                )
                cuda = re.search(r"^cuda\s*(?::[^=]+)?=\s*'([^']+)'", text, re.MULTILINE)
                return (version[1] if version else None, cuda[1] if cuda else None)
    return None, None


def _driver() -> str | None:
    query = ("--query-gpu=driver_version", "--format=csv,noheader")
    versions = (line.strip() for line in ask_nvidia_smi(query, SMI_TIMEOUT))
    return next((version[:40] for version in versions if version), None)


# -- the models -----------------------------------------------------------------------------------


def find_models(parameters: Mapping[str, Any], checkout: Path | None) -> tuple[ModelRecord, ...]:
    """Return the model files that parameters name, with the hashes that are known by now.

    Those that aren't are being found out in the background.
    """
    used = list(_named_models(parameters))
    if checkout is None:
        reason = "the engine's model files are not known here"
        return tuple(ModelRecord(parameter, name, reason=reason) for parameter, name, _ in used)
    folders = _model_folders(checkout)
    return tuple(_model(parameter, name, folders[kind], checkout) for parameter, name, kind in used)


def _named_models(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield parameter, name and kind of each model."""
    for parameter in ("base_model", "refiner_model"):
        if _is_named(name := parameters.get(parameter)):
            yield parameter, str(name), "checkpoints"
    for parameter, name in parameters.items():
        if re.fullmatch(r"lora_\d+_model", parameter) and _is_named(name):
            number = parameter.removesuffix("_model")
            if parameters.get(f"{number}_enabled", True):
                yield parameter, str(name), "loras"
    for name in dict.fromkeys(_PROMPT_LORA.findall(str(parameters.get("prompt") or ""))):
        yield "prompt", name, "loras"
    # That of Fooocus: which of its files a fork has is not known here.
    for name in own_loras(parameters.get("performance_selection"))[:1]:
        yield "performance_selection", name, "loras"
    vae = parameters.get("vae_name")
    if _is_named(vae) and not str(vae).startswith("Default"):
        yield "vae_name", str(vae), "vae"


def _is_named(name: object) -> bool:
    return isinstance(name, str) and name not in ("", "None")


def _model_folders(checkout: Path) -> dict[str, list[Path]]:
    """Return the folders of each kind of model, as they were when they were first asked for."""
    found = _cached(("folders", checkout), lambda: {"found": _read_model_folders(checkout)})
    folders: dict[str, list[Path]] = found["found"]
    return folders


def _read_model_folders(checkout: Path) -> dict[str, list[Path]]:
    settings = read_settings(checkout)
    found = {}
    for kind, key in (
        ("checkpoints", "path_checkpoints"),
        ("loras", "path_loras"),
        ("vae", "path_vae"),
    ):
        found[kind] = [*settings.folders(key), checkout / "models" / kind]
    return found


def _model(parameter: str, name: str, folders: Sequence[Path], checkout: Path) -> ModelRecord:
    path = model_path(name, folders)
    if path is None:
        return ModelRecord(parameter, name, reason="there is no such file in its folders")
    try:
        digest, size, mtime = file_hashes().find(path)
    except OSError as error:
        return ModelRecord(parameter, name, reason=f"it cannot be read: {error.strerror or error}")
    return ModelRecord(parameter, name, digest, size, mtime)


def model_path(name: str, folders: Sequence[Path]) -> Path | None:
    """Return the file of a model by its name, as Fooocus lists it; the ending may be left out."""
    parts = PurePath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or PurePath(name).is_absolute():
        return None
    for folder in folders:
        for suffix in ("", *_SUFFIXES):
            path = folder.joinpath(*parts[:-1], parts[-1] + suffix)
            with contextlib.suppress(OSError, ValueError):
                if path.is_file():
                    return path
    return None


def complete_models(
    models: Sequence[ModelRecord], checkout: Path | None
) -> tuple[tuple[ModelRecord, ...], list[Path]]:
    """Return models with the hashes that are known by now, and the files that are still read."""
    found: list[ModelRecord] = []
    waiting: list[Path] = []
    for model in models:
        if model.sha256 is not None or model.reason is not None or checkout is None:
            found.append(model)
            continue
        kind = "vae" if model.parameter == "vae_name" else "checkpoints"
        kind = "loras" if model.parameter.startswith(("lora_", "prompt", "performance")) else kind
        path = model_path(model.name, _model_folders(checkout)[kind])
        try:
            digest, size, mtime = file_hashes().find(path) if path is not None else (None, -1, -1)
        except OSError:
            digest, size, mtime = None, -1, -1
        if (size, mtime) != (model.bytes, model.mtime_ns):
            found.append(_without_hash(model, "the file was changed before it could be hashed"))
        elif digest is None:
            found.append(model)
            if path is not None:
                waiting.append(path)
        else:
            found.append(
                ModelRecord(model.parameter, model.name, digest, model.bytes, model.mtime_ns)
            )
    return tuple(found), waiting


def _without_hash(model: ModelRecord, reason: str) -> ModelRecord:
    return ModelRecord(model.parameter, model.name, None, model.bytes, model.mtime_ns, reason)


def is_unhashed(model: ModelRecord) -> bool:
    """Whether a model's file was found and its hash isn't known yet."""
    return model.sha256 is None and model.reason is None


def known_again(model: ModelRecord) -> ModelRecord:
    """Return a model with the hash that a file of its name, size and time has by now, if any."""
    if not is_unhashed(model) or model.bytes is None or model.mtime_ns is None:
        return model
    name = PurePath(model.name.replace("\\", "/")).name
    digest = file_hashes().known(name, model.bytes, model.mtime_ns)
    return replace(model, sha256=digest)


# -- what the log says of a generation ------------------------------------------------------------


@dataclass(frozen=True)
class Prompts:
    """The prompt of one image after wildcards, and after expansion; None where it isn't told."""

    prompt: str | None = None
    expansion: str | None = None
    seed: int | None = None


def log_timings(lines: Iterable[str]) -> dict[str, Any]:
    """Return what the log of a generation says of its time, in seconds."""
    found: dict[str, Any] = {}
    images: list[float] = []
    for line in lines:
        if match := _PREPARATION.match(line):
            found["preparation"] = float(match[1])
        elif match := _IMAGE_TIME.match(line):
            images.append(float(match[1]))
        elif match := _TOTAL.match(line):
            found["total"] = float(match[1])
    if images:
        found["images"] = images
    return found


def find_prompts(
    lines: Sequence[str], files: Sequence[tuple[Path, str, int]], *, local: bool
) -> list[Prompts]:
    """Return the prompts of the images of a generation.

    `files` has for each its file here, its name at the server, and its number in the request. What
    the file itself says counts most, then the engine's log page (where it is `local`), then the
    lines of its log, which tell of the expansion only.
    """
    expansions = _expansions(lines)
    pages = _page_entries(lines, [name for _, name, _ in files]) if local else {}
    found = []
    for path, name, number in files:
        said = _embedded(path) or pages.get(name) or Prompts()
        if said.expansion is None and number in expansions:
            said = Prompts(said.prompt, expansions[number], said.seed)
        found.append(said)
    return found


def _expansions(lines: Iterable[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    number = 0
    for line in lines:
        if match := _TEXT_NUMBER.match(line):
            number = int(match[1])
        elif number and (match := _EXPANSION.match(line)):
            found[number] = match[1]
    return found


def _embedded(path: Path) -> Prompts | None:
    try:
        return _said(read_metadata(path, max_bytes=max_file_bytes()))
    except (MetadataError, OSError):
        return None


def _said(metadata: Any) -> Prompts:
    raw = metadata.raw
    prompt, expansion = raw.get("prompt"), raw.get("prompt_expansion")
    seed = str(raw.get("seed", ""))
    return Prompts(
        str(prompt) if prompt is not None else None,
        str(expansion) if expansion else None,
        int(seed) if seed.isdigit() else None,
    )


def _page_entries(lines: Iterable[str], names: Sequence[str]) -> dict[str, Prompts]:
    """Return what the engine's log pages say of images, by the names of their files."""
    pages = dict.fromkeys(match[1] for line in lines if (match := _LOG_PAGE.match(line)))
    found: dict[str, Prompts] = {}
    for page in pages:
        path = Path(page)
        size = PAGE_HEAD + PAGE_ENTRY * len(names)
        with contextlib.suppress(OSError, MetadataError, ValueError):
            with open_plain_file(path, ANY_SIZE) as file:
                head = file.read(size)
            # The newest entries are the first, and parsing ten of them takes more than a manifest.
            places = [head.rfind(name.encode()) for name in names]
            if places and min(places) >= 0:
                head = head[: max(places) + PAGE_ENTRY // 2]
            # What is cut is cut behind a tag, or it would count as damaged.
            head = head[: head.rfind(b">") + 1]
            for name, metadata in parse_log(head, skip_damaged=True):
                if name in names:
                    found[name] = _said(metadata)
    return found
