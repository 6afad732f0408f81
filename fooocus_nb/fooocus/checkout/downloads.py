"""Finds the models that a checkout downloads at its first start, in its source and presets."""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.checkout._source import called_name, literal, parse_source
from fooocus_nb.fooocus.checkout.config_txt import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fooocus_nb.fooocus.checkout.config_txt import Settings

__all__ = ["Download", "find_downloads"]

#: Rounded sizes of the usual files in bytes; those of others are not known before the download.
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
class Download:
    """A file that Fooocus downloads where it is missing."""

    name: str
    #: Where it comes from.
    url: str
    #: Whether a file of that name is in one of the folders for models.
    present: bool
    #: About how many bytes it has, where that is known.
    size: int | None


def find_downloads(settings: Settings, preset: str | None = None) -> list[Download]:
    """Return the files that a checkout's source, presets and settings name, each once."""
    values = _merged(settings, preset)
    there = set(_names(settings.model_folders()))
    found = dict(_of_launcher(settings.checkout))
    for key, downloads in values.items():
        if key.endswith("_downloads") and isinstance(downloads, dict):
            found |= {name: url for name, url in downloads.items() if isinstance(url, str)}
    # Where the default of an earlier version is there, Fooocus goes on with that.
    default, earlier = values.get("default_model"), values.get("previous_default_models")
    if isinstance(earlier, list) and any(name in there for name in map(str, earlier)):
        there.add(str(default))
    return [
        Download(name, url, name in there, SIZES.get(name) or SIZES.get(url.rpartition("/")[2]))
        for name, url in found.items()
    ]


def _merged(settings: Settings, preset: str | None) -> dict[str, Any]:
    """Return the values as Fooocus merges them: default preset, config.txt, preset."""
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
    tree = parse_source(checkout / "launch.py")
    if tree is None:
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
        elif isinstance(node, ast.Call) and called_name(node) == DOWNLOADER:
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            name, url = literal(given.get("file_name")), literal(given.get("url"))
            if isinstance(url, str) and url:
                yield name if isinstance(name, str) and name else url.rpartition("/")[2], url


def _downloads(node: ast.AST) -> bool:
    return any(
        isinstance(inner, ast.Call) and called_name(inner) == DOWNLOADER for inner in ast.walk(node)
    )


def _pairs(node: ast.expr) -> list[tuple[str, str]]:
    """Return a list of name and address; empty where it is something else."""
    value = literal(node)
    if not isinstance(value, list):
        return []
    return [
        (pair[0], pair[1])
        for pair in value
        if isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(p, str) for p in pair)
    ]
