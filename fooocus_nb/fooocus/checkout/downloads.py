"""The models that a checkout downloads at its first start, read from its source and presets."""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.checkout.config_txt import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fooocus_nb.fooocus.checkout.config_txt import Settings

__all__ = ["WantedModel", "wanted_models"]

#: Bytes of files that versions of Fooocus download, rounded; other sizes are not known beforehand.
SIZES = {
    "juggernautXL_v8Rundiffusion.safetensors": 7_110_000_000,
    "juggernautXL_version6Rundiffusion.safetensors": 7_110_000_000,
    "sd_xl_base_1.0_0.9vae.safetensors": 6_940_000_000,
    "sd_xl_refiner_1.0_0.9vae.safetensors": 6_080_000_000,
    "fooocus_expansion.bin": 351_000_000,
    "sd_xl_offset_example-lora_1.0.safetensors": 49_600_000,
    "xlvaeapp.pth": 213_000,
}
DOWNLOADER = "load_file_from_url"


@dataclass(frozen=True, slots=True)
class WantedModel:
    """A file that Fooocus downloads where it is not there."""

    #: The file's name.
    name: str
    #: Where it comes from.
    url: str
    #: Whether a file of that name is in one of the folders for models.
    present: bool
    #: About how many bytes it has, where that is known.
    size: int | None


def wanted_models(settings: Settings, preset: str | None = None) -> list[WantedModel]:
    """Return the models of a checkout's own source, of its presets and of its settings."""
    values = _merged(settings, preset)
    there = set(_names(settings.model_folders()))
    wanted = dict(_of_launcher(settings.checkout))
    for key, downloads in values.items():
        if key.endswith("_downloads") and isinstance(downloads, dict):
            wanted |= {name: url for name, url in downloads.items() if isinstance(url, str)}
    # Where the default of an earlier version is there, Fooocus goes on with that.
    default, earlier = values.get("default_model"), values.get("previous_default_models")
    if isinstance(earlier, list) and any(name in there for name in map(str, earlier)):
        there.add(str(default))
    return [
        WantedModel(name, url, name in there, SIZES.get(name) or SIZES.get(url.rpartition("/")[2]))
        for name, url in wanted.items()
    ]


def _merged(settings: Settings, preset: str | None) -> dict[str, Any]:
    """Return the values in the order in which Fooocus lays them over each other."""
    presets = settings.checkout / "presets"
    values, _ = read_json(presets / "default.json")
    values |= settings.values
    if preset is not None:
        values |= read_json(presets / f"{preset}.json")[0]
    return values


def _names(folders: list[Path]) -> Iterator[str]:
    for folder in folders:
        for root, _, names in os.walk(folder):
            for name in names:
                if _has_content(Path(root, name)):
                    yield name
                    yield Path(root, name).relative_to(folder).as_posix()


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _of_launcher(checkout: Path) -> Iterator[tuple[str, str]]:
    """Yield name and address of the files that ``launch.py`` itself names."""
    try:
        tree = ast.parse((checkout / "launch.py").read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    tables = {
        target.id: pairs
        for node in tree.body
        if isinstance(node, ast.Assign) and (pairs := _pairs(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Name):
            if _downloads(node):
                yield from tables.get(node.iter.id, ())
        elif isinstance(node, ast.Call) and _called(node) == DOWNLOADER:
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            name, url = _text(given.get("file_name")), _text(given.get("url"))
            if url:
                yield name or url.rpartition("/")[2], url


def _downloads(node: ast.AST) -> bool:
    return any(
        isinstance(inner, ast.Call) and _called(inner) == DOWNLOADER for inner in ast.walk(node)
    )


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _pairs(node: ast.expr) -> list[tuple[str, str]]:
    """Return a list of name and address; empty where it is something else."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return []
    if not isinstance(value, list):
        return []
    return [
        (pair[0], pair[1])
        for pair in value
        if isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(p, str) for p in pair)
    ]


def _text(node: ast.expr | None) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None
