"""What a gallery knows of files and images, whatever they are."""

from __future__ import annotations

import json
import random
import threading

import PIL.Image
import pytest

import fooocus_nb
from fooocus_nb import Image, Result
from fooocus_nb._html import parameter_rows
from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.metadata import append_log
from fooocus_nb.results.history import ImageHistory
from fooocus_nb.widgets._gallery_items import Items, Worker, items_of


@pytest.fixture
def folder(tmp_path):
    """Pictures: one tells, the log page knows one, nobody knows a third; and no picture."""
    for name in ("told.png", "logged.png", "silent.webp"):
        PIL.Image.new("RGB", (64, 48), "teal").save(tmp_path / name)
    fooocus_nb.write_metadata(tmp_path / "told.png", {"prompt": "a cat", "image_seed": 2**60})
    append_log(tmp_path / "log.html", "logged.png", {"prompt": "a dog", "image_seed": 8})
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"")
    below = tmp_path / "2026-11-24"
    below.mkdir()
    PIL.Image.new("RGB", (8, 8)).save(below / "deep.png")
    return tmp_path


def look(items):
    for entry in items:
        items.read(entry)
    return {entry.path.name: items.card(entry) for entry in items}


def test_a_folder(folder):
    items = Items()
    items.add(items_of(folder))
    cards = look(items)
    assert set(cards) == {"told.png", "logged.png", "silent.webp", "broken.jpg", "deep.png"}
    assert (cards["told.png"]["prompt"], cards["told.png"]["seed"]) == ("a cat", str(2**60))
    assert (cards["logged.png"]["prompt"], cards["logged.png"]["seed"]) == ("a dog", "8")
    assert (cards["silent.webp"]["prompt"], cards["silent.webp"]["seed"]) == ("", "")
    assert "No image" in cards["broken.jpg"]["error"]
    assert {items.image(entry).seed for entry in items} == {2**60, 8, None}
    assert len(list(items_of(folder, recursive=False))) == 4
    json.dumps(cards)


def test_a_list_of_anything_shows_what_is_there_and_names_what_is_gone(folder):
    image = Image(folder / "told.png", seed=3, parameters={"prompt": "mine"})
    items = Items()
    items.add(items_of([image, str(folder / "told.png"), folder / "gone.png", (folder,)]))
    cards = look(items)
    assert cards["told.png"]["prompt"] == "mine"  # what was given counts, and it is there once
    assert cards["gone.png"]["error"] == "The file is no longer there."
    assert len(cards) == 6


@pytest.mark.parametrize("source", [7, None, object()])
def test_what_is_no_source_says_so(source):
    with pytest.raises(ParameterError, match="it must be a folder"):
        list(items_of(source))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ParameterError, match="no folder and no file"):
        fooocus_nb.gallery(tmp_path / "nowhere")


def test_the_worker_makes_what_was_wanted_last_and_survives_what_is_broken(folder):
    items, sent, done = Items(), [], threading.Event()
    items.add(items_of(folder))

    def send(message, buffers):
        sent.append((message, buffers))

    worker = Worker(items, send)
    worker.request_thumbnails(items)
    worker.read(items)
    worker.submit(lambda: 1 / 0)
    worker.request_thumbnails([])
    worker.read([])
    worker.submit(done.set)
    assert done.wait(30)
    worker.request_thumbnails(items)
    deadline = threading.Event()
    for _ in range(300):
        numbers = {n for message, _ in sent for n in message.get("ids", ())}
        if len(numbers) == 4:
            break
        deadline.wait(0.1)
    pictures = [data for _, buffers in sent for data in buffers]
    assert all(data[8:12] == b"WEBP" and len(data) <= 16_000 for data in pictures)
    worker.close()


def test_the_history_tells_of_each_image_once_and_mends_its_seed(tmp_path):
    history, heard = ImageHistory(), []
    stop = history.subscribe(heard.append)
    one = Image(tmp_path / "a.png", seed=1, parameters={})
    mended = Image(tmp_path / "a.png", seed=2, parameters={})
    history.add([one])
    history.add([one])
    history.add([mended])
    stop()
    history.add([Image(tmp_path / "b.png", seed=3, parameters={})])
    assert heard == [one, mended]
    assert [image.seed for image in history.images()] == [2, 3]


def test_what_is_off_is_not_shown():
    rows = dict(
        parameter_rows(
            {"prompt": "x", "lora_1_model": "None", "lora_1_weight": 1.0, "lora_2_model": "a",
             "lora_2_weight": 0.5, "uov_method": "Disabled", "image_number": 1}
        )
    )  # fmt: skip
    assert rows == {"prompt": "x", "lora_2_model": "a", "lora_2_weight": "0.5"}


def test_a_notebook_of_a_hundred_images_stays_small(tmp_path):
    """Even where each has a cell of its own and is noise, which nothing compresses."""
    path = tmp_path / "noise.png"
    noise = random.Random(7).randbytes(512 * 400 * 3)
    PIL.Image.frombytes("RGB", (512, 400), noise).save(path)
    parameters = {f"parameter_{number}": "a value " * 3 for number in range(40)}
    images = [Image(path, seed=2**60, parameters=parameters)]
    result = Result(images, elapsed=1.0, log=(), parameters=parameters, prompt="noise " * 20)
    bundle = result._repr_mimebundle_()
    assert 100 * len(json.dumps(bundle)) < 6_000_000
    uris = [part.split('"')[0] for part in bundle["text/html"].split('src="')[1:]]
    assert [len(uri) <= 60_000 for uri in uris] == [True]
