"""Files of images that are no plain files, or too large: nobody reads them."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import PIL.Image
import pytest

from fooocus_nb import Image
from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.limits import MAX_FILE_BYTES
from fooocus_nb.widgets._gallery_items import Items, items_of

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
