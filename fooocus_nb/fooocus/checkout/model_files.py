"""Finds, checks and restores model files that Fooocus has renamed to ``*.corrupted``.

Fooocus renames every model that failed to load, also one that failed because memory was short.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import RestoreError
from fooocus_nb.fooocus.given import only_our_errors, path_of, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["RenamedModel", "find_renamed_models", "restore_model"]

SUFFIX = ".corrupted"
#: The header of a real model has some hundred kilobytes; safetensors itself refuses more.
MAX_HEADER = 100_000_000
ZIPPED = {".ckpt", ".pt", ".pth", ".bin"}


@dataclass(frozen=True, slots=True)
class RenamedModel:
    """A renamed model file."""

    #: Where it is now, ``.corrupted`` included.
    path: Path
    #: Whether all of it is there; None where its format does not tell.
    whole: bool | None
    #: Why we think so.
    reason: str

    @property
    def original(self) -> Path:
        """Its name before Fooocus renamed it."""
        return self.path.with_name(self.path.name.removesuffix(SUFFIX))


def find_renamed_models(folders: Iterable[Path]) -> list[RenamedModel]:
    """Return the renamed model files in some folders and below, checked, each once."""
    found = {path for folder in folders for path in _files(folder)}
    return [_checked(path) for path in sorted(found)]


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):  # which leaves out what it may not read
        for name in names:
            if name.endswith(SUFFIX):
                path = Path(os.path.realpath(os.path.join(root, name)))  # noqa: PTH118 - a loop raises
                if path.is_file():
                    yield path


def restore_model(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Restore the name of a model file that Fooocus has renamed to ``*.corrupted``.

    Parameters
    ----------
    path : path-like
        The file, with ``.corrupted`` or without.
    force : bool
        Whether to do so although the file is cut short or no model. Default False.

    Returns
    -------
    Path
        Where the file is now.

    Raises
    ------
    RestoreError
        When there is no such file, another one has its name by now (nothing is ever overwritten),
        or it is not whole.
    """
    plain = path_of("path", path, RestoreError)
    try:
        given = plain.expanduser()
    except RuntimeError as error:
        msg = f"{os.fspath(plain)!r}: nothing tells where that home is. Give the whole path."
        raise RestoreError(msg) from error
    with only_our_errors(f"path={shown(path)}", RestoreError):  # such as a name that is too long
        source = given if given.name.endswith(SUFFIX) else given.with_name(given.name + SUFFIX)
        target = source.with_name(source.name.removesuffix(SUFFIX))
        found = source.is_file()
    if not found:
        there = f" {target} has its own name." if target.is_file() else ""
        msg = f"There is no file {str(source)!r}.{there}"
        raise RestoreError(msg)
    checked = _checked(source)
    if checked.whole is False and not force:
        msg = f"{source} is not whole: {checked.reason}. Remove it and download it anew."
        raise RestoreError(msg)
    try:
        _rename(source, target)
    except FileExistsError as error:
        msg = f"{target} is there already, and nothing is overwritten. Remove one of the two."
        raise RestoreError(msg) from error
    except OSError as error:
        msg = f"{source} cannot be renamed: {error.strerror or error}."
        raise RestoreError(msg) from error
    return target


def _rename(source: Path, target: Path) -> None:
    """Rename a file, but never onto another one."""
    if os.name != "nt":  # where renaming overwrites, unlike on Windows
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if target.exists():
                raise FileExistsError(target) from None
        else:
            source.unlink()
            return
    source.rename(target)


# -- checks -----------------------------------------------------------------------------------


def _checked(path: Path) -> RenamedModel:
    whole: bool | None
    kind = Path(path.name.removesuffix(SUFFIX)).suffix.casefold()
    try:
        if path.stat().st_size == 0:
            whole, reason = False, "it is empty"
        elif kind == ".safetensors":
            whole, reason = _safetensors(path)
        elif kind in ZIPPED:
            whole, reason = _zipped(path)
        else:
            whole, reason = None, "its format does not tell"
    except OSError as error:
        whole, reason = None, f"it cannot be read ({error.strerror or error})"
    return RenamedModel(path, whole, reason)


def _safetensors(path: Path) -> tuple[bool, str]:
    """Compare a file's size with what its header says: the header names the end of each tensor."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size, MAX_HEADER):
            return False, "it has no header of the format safetensors"
        try:
            header = json.loads(file.read(length))
            end = max((_end(tensor) for tensor in header.values()), default=0)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False, "its header cannot be read"
    expected = 8 + length + end
    if size < expected:
        return False, f"it is cut short: {size:,} of {expected:,} bytes"
    return True, f"all of its {size:,} bytes are there"


def _end(tensor: dict[str, Any]) -> int:
    return int(tensor["data_offsets"][1]) if "data_offsets" in tensor else 0


def _zipped(path: Path) -> tuple[bool | None, str]:
    """Look for the table of contents that a PyTorch file has at its end."""
    with path.open("rb") as file:
        if not file.read(4).startswith(b"PK\3\4"):
            return None, "its format does not tell"
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        return True, f"its table of contents is there, with {len(archive.namelist())} entries"
    return False, "it is cut short: it has no table of contents"
