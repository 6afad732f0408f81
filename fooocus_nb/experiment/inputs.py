"""The images that a generation begins with: copied into its run, each once, by their hash."""

from __future__ import annotations

import unicodedata
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from fooocus_nb.experiment.folder import INPUTS
from fooocus_nb.experiment.hashing import sha256
from fooocus_nb.experiment.manifest import InputRecord, jsonable
from fooocus_nb.fooocus.transport.data_uris import decode_data_uri, is_data_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.experiment.folder import RunFolder

__all__ = ["take_inputs"]

_KINDS = {"jpeg": "jpg"}


def take_inputs(
    folder: RunFolder, values: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[InputRecord, ...]]:
    """Copy the images among the values of a request into the run.

    Parameters
    ----------
    values : mapping
        Wire values: an image is a data URI, and with a mask a mapping of two.
    given : mapping
        What was given, for the names of the files.

    Returns
    -------
    dict, tuple of InputRecord
        The values with ``sha256:...`` in place of the images, and where their copies are.
    """
    found: list[InputRecord] = []
    plain: dict[str, Any] = {}
    for name, value in values.items():
        source = given.get(name)
        if isinstance(value, str) and is_data_uri(value):
            plain[name] = _input(folder, found, name, None, value, source)
        elif isinstance(value, dict) and any(
            isinstance(part, str) and is_data_uri(part) for part in value.values()
        ):
            sources = source if isinstance(source, dict) else {"image": source}
            plain[name] = {
                part: _input(folder, found, name, part, uri, sources.get(part))
                if isinstance(uri, str) and is_data_uri(uri)
                else jsonable(uri)
                for part, uri in value.items()
            }
        elif value is not None:
            plain[name] = jsonable(value)
    return plain, tuple(found)


def _input(
    folder: RunFolder, found: list[InputRecord], name: str, part: str | None, uri: str, source: Any
) -> str:
    decoded = decode_data_uri(uri)
    data, mime = decoded if decoded is not None else (b"", "image/png")
    digest = sha256(data)
    kind = mime.partition("/")[2]
    kind = _KINDS.get(kind, kind)
    path = f"{INPUTS}/{digest}.{kind if kind.isascii() and kind.isalnum() else 'bin'}"
    if not (folder.path / path).is_file():
        folder.write(path, data)
    # Of a path only the name, in the one form of Unicode that all systems agree on.
    shown = ""
    if isinstance(source, str) and not source.startswith("sha256:"):
        shown = unicodedata.normalize("NFC", PurePath(source.replace("\\", "/")).name)[:200]
    found.append(InputRecord(name, part, digest, path, len(data), shown))
    return f"sha256:{digest}"
