"""The files that the demo engine writes: images, their copies for the page, metadata, the log."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.demo.console import say
from fooocus_nb.demo.records import embedded_text
from fooocus_nb.fooocus.metadata import append_log, parse_metadata, write_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

__all__ = ["Files"]

#: The folders of copies are named after the SHA-1 of what is in them.
_COPIES = re.compile(r"[0-9a-f]{40}")
#: Fast, and hardly larger than with more effort: grain does not compress.
PNG_LEVEL = 1
#: Of JPEG and WebP files, as Fooocus has it.
QUALITY = 95


@dataclass(frozen=True)
class Files:
    """The folders of an engine, and what it writes into them."""

    outputs: Path
    #: What the page shows is copied to it.
    temp: Path
    #: Whether images go to the outputs, with a log page; else they go to the temp folder.
    image_log: bool = True

    def clean_temp(self) -> None:
        """Empty the temporary folder as Fooocus does, but only of what an engine left there."""
        self.temp.mkdir(parents=True, exist_ok=True)
        for entry in self.temp.iterdir():
            if entry.is_dir() and not entry.is_symlink() and _COPIES.fullmatch(entry.name):
                shutil.rmtree(entry, ignore_errors=True)

    def save(
        self, image: Image, form: str, values: Mapping[str, Any], scheme: str | None = None
    ) -> Path:
        """Save an image, embed its metadata where there is a scheme, and log it."""
        folder = self._folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = _new_path(folder, form)
        if form == "png":
            image.save(path, compress_level=PNG_LEVEL)
        else:
            image.save(path, form.upper(), quality=QUALITY, optimize=True)
        if scheme:
            write_metadata(path, parse_metadata(embedded_text(values, scheme), scheme))
        if self.image_log:
            log = folder / "log.html"
            append_log(log, path.name, values)
            say(f"Image generated with private log at: {log}")
        return path

    def log_page(self) -> Path:
        """Return where today's log page is, or will be."""
        return self._folder() / "log.html"

    def _folder(self) -> Path:
        root = self.outputs if self.image_log else self.temp
        return root / time.strftime("%Y-%m-%d")

    def models(self, kind: str) -> list[str]:
        """Return the names of the model files in a folder of ``models``, beside the outputs."""
        folder = self.outputs.parent / "models" / kind
        return sorted(path.name for path in folder.glob("*.safetensors"))

    def publish(self, path: Path) -> dict[str, Any]:
        """Copy a file to where the page fetches it, and return how a gallery names the copy."""
        copy = self.keep(path.read_bytes(), path.name)
        return {"name": str(copy), "data": None, "is_file": True}

    def keep(self, data: bytes, name: str) -> Path:
        """Store bytes in the temporary folder, under a folder that is named after them."""
        folder = self.temp / hashlib.sha1(data, usedforsecurity=False).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (Path(name.replace("\\", "/")).name or "file")
        if not path.exists():  # the page is told of an image again while a client may be reading it
            path.write_bytes(data)
        return path

    def served(self, text: str) -> Path | None:
        """Return the file that the page asks for, if it is one that may be served."""
        try:
            path = Path(text).resolve(strict=True)
        except (OSError, ValueError):
            return None
        roots = (self.outputs.resolve(), self.temp.resolve())
        if path.is_file() and any(path.is_relative_to(root) for root in roots):
            return path
        return None


def _new_path(folder: Path, extension: str) -> Path:
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    while True:
        path = folder / f"{stamp}_{secrets.randbelow(9000) + 1000}.{extension}"
        if not path.exists():
            return path
