"""Files of images that are no plain files, or too large: nobody reads them."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING

import PIL.EpsImagePlugin
import PIL.Image
import PIL.ImageFile
import pytest

from fooocus_nb import Image, gallery
from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.events import Preview
from fooocus_nb.fooocus.limits import MAX_FILE_BYTES
from fooocus_nb.results.thumbnails import is_image
from fooocus_nb.widgets._gallery_items import Items, items_of
from fooocus_nb.widgets.job_monitor import small_jpeg, small_preview

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A picture in a file that has no end worth waiting for; it takes no room on the disk."""
    file = tmp_path / "huge.png"
    PIL.Image.new("RGB", (8, 8)).save(file)
    os.truncate(file, MAX_FILE_BYTES + 1)
    return file


@pytest.mark.parametrize(
    "read",
    [lambda image: image.sha256, lambda image: image.open(), lambda image: image.thumbnail()],
    ids=["sha256", "open", "thumbnail"],
)
def test_a_file_that_is_too_large_is_not_read(huge: Path, read: Callable[[Image], object]) -> None:
    with pytest.raises(OSError, match="too large"):
        read(Image(huge, seed=None, parameters={}))


def test_a_gallery_says_what_it_has_not_read(huge: Path) -> None:
    items = Items()
    items.add(items_of(huge.parent))
    (entry,) = items
    items.read(entry)
    assert "too large" in items.card(entry)["error"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_gallery_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    items = Items()
    items.add(items_of(tmp_path))
    (entry,) = items
    reading = threading.Thread(target=items.read, args=(entry,), daemon=True)
    reading.start()
    reading.join(20)
    waits = reading.is_alive()
    if waits:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))  # let the thread go
        reading.join(20)
    assert not waits
    assert "no plain file" in items.card(entry)["error"]
    with pytest.raises(ParameterError, match="no file of that name"):
        list(items_of(pipe))


def _bomb(size: tuple[int, int]) -> bytes:
    """Return a small PNG that unfolds to many pixels."""
    buffer = io.BytesIO()
    PIL.Image.new("1", size).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(9000, 9000), (15_000, 15_000)])
def test_an_image_of_too_many_pixels_is_not_unfolded_to_be_shown(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow itself would refuse the second only."""
    (tmp_path / "bomb.png").write_bytes(_bomb(size))
    image = Image(tmp_path / "bomb.png", seed=None, parameters={})
    result = gallery(tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", refuse)
    with pytest.raises(PIL.Image.DecompressionBombError):
        image.thumbnail()
    assert result._repr_mimebundle_()
    assert small_jpeg((tmp_path / "bomb.png").read_bytes(), 320, 14_000) == b""


def test_a_preview_may_have_fewer_pixels_than_an_image() -> None:
    data = _bomb((5000, 5000))
    assert small_preview(Preview(data, "image/png")) == b""
    assert small_jpeg(data, 320, 14_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        b"P6 1 1 255 \0\0\0",
        b"GIF89a",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
    ],
)
def test_what_is_no_image_of_a_server(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The PostScript in an EPS is a program, which Pillow lets Ghostscript run."""
    monkeypatch.setattr(
        PIL.EpsImagePlugin, "Ghostscript", lambda *_, **__: PIL.Image.new("1", (9, 9))
    )
    assert not is_image(data)
    assert small_jpeg(data, 320, 14_000) == b"" or data.startswith(b"P6")
