"""A run is shared as a zip or a page, holds nothing that it must not, and goes on elsewhere."""

from __future__ import annotations

import getpass
import json
import shutil
import stat
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import fooocus_nb
from fooocus_nb import OutputError, ParameterError, RunError, Sweep
from fooocus_nb.experiment.archive import pack
from fooocus_nb.experiment.manifest import Manifest
from fooocus_nb.experiment.privacy import Scrubber

if TYPE_CHECKING:
    from pathlib import Path

SEED = 6687881544318117707
SHARED = ("lighthouse.html", "lighthouse.zip")


def shared_files(path: Path) -> dict[str, bytes]:
    """Return everything that a shared run holds, decompressed."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    store = fooocus_nb.open_run(path).store
    return {name: store.read(name) for name in store.sizes} | {"page": path.read_bytes()}


@pytest.mark.parametrize("name", SHARED)
def test_what_is_shared_opens_as_the_same_run(made_run, tmp_path, name):
    run = made_run(guidance_scale=[3, 5], image_seed=[SEED, 12], failed=1, left_out=1)
    run.rate(run.images[0], 5, note="the best")
    share = run.share(tmp_path / name)
    assert share.written
    assert share.size == share.path.stat().st_size
    assert "how each image was made: 2 files" in str(share)
    found = fooocus_nb.open_run(share.path)
    assert (found.id, found.readonly) == (run.id, True)
    assert found.counts == run.counts == {
        "planned": 4, "made": 2, "failed": 1, "skipped": 0, "missing": 1,
    }  # fmt: skip
    first = found.images[0]
    assert (first.seed, first.sha256, first.rating, first.note) == (
        SEED, run.images[0].sha256, 5, "the best",
    )  # fmt: skip
    assert found.table().to_csv() == run.table().to_csv()
    assert list(found.manifests) == list(run.manifests)
    assert found.notices == ()
    with pytest.raises(RunError, match="thumbnail only"):
        _ = first.path
    with pytest.raises(RunError, match="thumbnail only"):
        first.open()
    assert first.thumbnail(64).startswith(b"RIFF")
    assert "image/webp" in first._repr_mimebundle_()["text/html"]
    # It is written again from what was shared, and over itself, but over nothing else.
    again = found.share(tmp_path / "again.zip")
    assert fooocus_nb.open_run(again.path).counts == run.counts
    run.share(tmp_path / name)
    (tmp_path / "mine.zip").write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        run.share(tmp_path / "mine.zip")
    assert (tmp_path / "mine.zip").read_text() == "mine"


def test_a_dry_run_lists_and_writes_nothing(made_run, tmp_path):
    run = made_run(guidance_scale=[3, 5])
    share = run.share(tmp_path / "lighthouse.html", dry_run=True)
    assert "would hold" in str(share)
    assert "thumbnails/" in next(iter(name for name in share.files if name.endswith(".webp")))
    assert not share.path.exists()
    with pytest.raises(ParameterError, match=r"\.html.*\.zip"):
        run.share(tmp_path / "lighthouse.pdf")
    with pytest.raises(ParameterError, match="inputs=True"):
        run.share(tmp_path / "lighthouse.html", inputs=True)


@pytest.mark.parametrize("name", SHARED)
def test_nothing_private_is_shared(made_run, tmp_path, monkeypatch, name):
    monkeypatch.setattr(getpass, "getuser", lambda: "alice.doe")
    monkeypatch.setattr("socket.gethostname", lambda: "gpu-box-7.lab.example")
    run = made_run(guidance_scale=[3, 5], failed=1)
    kept = next(run.manifests)
    secret = "hf_" + "a1B2" * 6
    manifest = replace(
        kept,
        fooocus={"flags": ["--output-path", str(tmp_path / "outputs"), "--hf-token", secret]},
        system={"device": "cuda:0 on gpu-box-7", "gpu": "RTX 4090"},
        engine={"name": "alice.doe's engine", "demo": False, "owned": True},
        error={"type": "OSError", "message": r"C:\Users\alice.doe\x.png, \\nas\home\z, ~/.cache/q"},
        parameters={**kept.parameters, "prompt": f"a lighthouse, 1/2 dusk, {tmp_path}/sketch.png"},
    )  # fmt: skip
    run.store.write(f"manifests/{manifest.name}", manifest.to_json())
    run.store.write("inputs/" + "a" * 64 + ".png", b"somebody's own face")
    run.store.write("images/engine.log", b"a log")
    notebook = tmp_path / "mine.ipynb"
    cell = {
        "cell_type": "code", "metadata": {"tags": ["parameters"], "path": str(tmp_path)},
        "source": f"open_run({str(tmp_path)!r}, token='{secret}')", "execution_count": 3,
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "Traceback: a log"}],
    }  # fmt: skip
    notebook.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}))
    run.close()
    with fooocus_nb.open_run(run.path) as run:
        run.rate(run.images[0], 1, note=f"see {tmp_path}/notes, said alice.doe")
        run.share(tmp_path / name, notebook=notebook)
    files = shared_files(tmp_path / name)
    data = b"\n".join(value for key, value in files.items() if not key.endswith(".webp"))
    for private in (
        str(tmp_path),
        "alice.doe",
        "gpu-box",
        secret,
        "nas\\",
        ".cache",
        "a log",
        "own face",
    ):
        assert private.encode() not in data, private
    assert not [key for key in files if "inputs" in key or "lease" in key or "index" in key]
    found = fooocus_nb.open_run(tmp_path / name)
    shown = next(found.manifests)
    assert not shown.edited  # its checksum fits what is shared
    assert shown.parameters["prompt"] == "a lighthouse, 1/2 dusk, ~/sketch.png" or (
        shown.parameters["prompt"] == "a lighthouse, 1/2 dusk, sketch.png"
    )
    assert shown.system["gpu"] == "RTX 4090"
    # An input image goes along where that is asked for.
    zipped = fooocus_nb.open_run(run.path).share(tmp_path / "all.zip", inputs=True, originals=True)
    assert [key for key in zipped.files if key.startswith("inputs/")]


def test_a_text_keeps_what_is_no_path():
    scrub = Scrubber(["/srv/data/runs"])
    for text in ("3/4 view, black and/or white", "lllyasviel/Fooocus", "(a:1.2) / b", "20 steps/s"):
        assert scrub.text(text) == text
    assert scrub.text("in /srv/data/runs/a/b.png:", "free") == "in b.png:"
    assert scrub.text("/imagine a lake", "prompt") == "/imagine a lake"
    assert scrub.text("https://alice:pw@box:7865/x and https://huggingface.co/a/b") == (
        "https://host/x and https://huggingface.co/a/b"
    )


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ('password = "geheim!"', 'password = "***"'),
        ('os.environ["CIVITAI_TOKEN"] = "geheim123"', 'os.environ["CIVITAI_TOKEN"] = "***"'),
        ("os.environ.setdefault('HF_TOKEN', 'geheim')", "os.environ.setdefault('HF_TOKEN', '***')"),
        ('api_key: str = "geheim"', 'api_key: str = "***"'),
        ("AWS_SECRET_ACCESS_KEY=geheim/K7", "AWS_SECRET_ACCESS_KEY=***"),
        ("%env HF_TOKEN geheim123", "%env HF_TOKEN ***"),
        ("curl -u anna:geheim https://box.lan/x", "curl -u *** https://host/x"),
        ('wandb.login(key="0123456789abcdef0123")', 'wandb.login(key="***")'),
        ("my password is geheim, see", "my password is ***, see"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "***"),
        ("scp a anna@10.0.0.4:/data/x", "scp a somebody@host:x"),
        ("mail anna@uni.example.org", "mail somebody@host"),
        ("on 192.168.1.5:7865 now", "on host now"),
        ("rsync gpu:/home/anna/x .", "rsync gpu:x ."),
        ("PATH=/home/anna/x:/home/anna/y", "PATH=y"),
        ("cc -L/home/anna/lib", "cc -Llib"),
        ("cd /home/anna", "cd ~"),
        ("/home/anna", "~"),
        ("C:\\Users\\Anna Smith\\a b.png", "a b.png"),
        ("see C:\\Users\\Anna Smith\\Pictures\\a.png now", "see a.png now"),
        ("see C:/Users/Anna now", "see ~ now"),
    ],
)
def test_secrets_places_and_people_in_code_and_notes(text, shared):
    assert Scrubber().text(text) == shared


@pytest.mark.parametrize(
    "text",
    [
        "token = getpass()",
        'token = os.environ["HF_TOKEN"]',
        'if password == "x": pass',
        'tokenizer = "clip", max_tokens = "5", sort_key = "seed"',
        'styles = ["token", "garden"]',
        "y = A@B.T + a@b.mean()",
        "@pytest.fixture",
        "pip install git+https://github.com/u/r@v1.0",
        "ratio 16:9/4:3, driver 535.104.05",
    ],
)
def test_code_that_holds_no_secret_stays(text):
    assert Scrubber().text(text) == text


def test_a_path_of_windows_in_a_prompt_is_cut():
    scrub = Scrubber()
    assert scrub.text("a cat, C:\\Users\\Anna Smith\\a.png", "prompt") == "a cat, ~/a.png"
    assert scrub.text(r"in D:\sd\a.png, \(masked\)", "prompt") == r"in a.png, \(masked\)"
    assert scrub.text(r"a \(b:\(c\)\), 1:1/2", "prompt") == r"a \(b:\(c\)\), 1:1/2"


def test_a_manifest_edited_by_hand_stays_recognisable(made_run, tmp_path):
    run = made_run(guidance_scale=[3, 5])
    manifest = next(run.manifests)
    path = run.path / "manifests" / manifest.name
    path.write_text(path.read_text().replace("a lighthouse at dusk", "a windmill"))
    run.close()
    with fooocus_nb.open_run(run.path) as run:
        run.share(tmp_path / "lighthouse.html")
    found = fooocus_nb.open_run(tmp_path / "lighthouse.html")
    assert [each.edited for each in found.manifests] == [True, False]


def test_a_zip_with_originals_unpacks_to_the_run(made_run, tmp_path):
    run = made_run(guidance_scale=[3, 5])
    run.share(tmp_path / "léuchtturm .zip", originals=True)
    names = zipfile.ZipFile(tmp_path / "léuchtturm .zip").namelist()
    assert all(name.isascii() and name.startswith("leuchtturm/") for name in names)
    zipped = fooocus_nb.open_run(tmp_path / "léuchtturm .zip")
    assert zipped.images[0].open().size == (96, 72)
    # By hand, as a file manager does it, is as good.
    with zipfile.ZipFile(tmp_path / "léuchtturm .zip") as archive:
        archive.extractall(tmp_path / "by hand")
    for place in (zipped.restore(tmp_path / "back").path, tmp_path / "by hand" / "leuchtturm"):
        back = fooocus_nb.open_run(place)
        assert [image.path.read_bytes() for image in back.images] == [
            image.path.read_bytes() for image in run.images
        ]
        back.close()
    with pytest.raises(OutputError, match="already"):
        zipped.restore(tmp_path / "back")


def evil_entries():
    link = zipfile.ZipInfo("lighthouse/images/000001-aaaaaaaa-1.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    yield "link", link
    for name in (
        "../out.txt",
        "/tmp/out.txt",
        "lighthouse/../../out.txt",
        "C:\\out.txt",
        "a\\..\\b",
    ):
        yield name, zipfile.ZipInfo(name)


@pytest.mark.parametrize("entry", [entry for _, entry in evil_entries()], ids=lambda e: e.filename)
def test_a_zip_with_evil_names_is_refused(made_run, tmp_path, entry):
    path = made_run(guidance_scale=[3]).share(tmp_path / "in" / "lighthouse.zip").path
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, b"/etc/passwd")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match="refused"):
        fooocus_nb.open_run(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_no_shared_run_is_told_so(made_run, tmp_path):
    run = made_run(guidance_scale=[3])
    page = run.share(tmp_path / "lighthouse.html").path
    other = tmp_path / "other.html"
    cases = {
        b"PK\x03\x04 cut short": "damaged",
        b"text": "no run that was shared",
        b"<!doctype html><p>hello": "holds no run",
        page.read_bytes().replace(b'id="fnb-archive">', b'id="fnb-archive">AAAA'): "damaged",
    }
    for data, words in cases.items():
        other.write_bytes(data)
        with pytest.raises(RunError, match=words):
            fooocus_nb.open_run(other)
    # A browser that saves it may put a comment before it.
    other.write_bytes(b"<!-- saved from url=(0014)about:internet -->\r\n" + page.read_bytes())
    assert len(fooocus_nb.open_run(other).images) == 1
    newer = json.dumps({"format": "fooocus-nb run", "version": 99, "id": "x"}).encode()
    with zipfile.ZipFile(tmp_path / "newer.zip", "w") as archive:
        archive.writestr("a/run.json", newer)
    with pytest.raises(RunError, match="newer fooocus-nb"):
        fooocus_nb.open_run(tmp_path / "newer.zip")


def test_sizes_are_bounded(tmp_path, monkeypatch):
    header = json.dumps({"format": "fooocus-nb run", "version": 1, "id": "x"}).encode()
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/run.json", header)
        archive.writestr("a/manifests/000001-aaaaaaaa.json", b" " * (9 << 20))
    run = fooocus_nb.open_run(bomb)
    assert len(run.images) == 0
    assert "too large" in run.notices[0]
    monkeypatch.setattr("fooocus_nb.experiment.archive.MAX_RECORDS_BYTES", 1000)
    page = tmp_path / "bomb.html"
    import base64

    block = base64.b64encode(pack({"run.json": header, "plan.jsonl": b" " * 5000}))
    page.write_bytes(
        b'<!doctype html><script type="application/gzip" id="fnb-archive">%s</script>' % block
    )
    with pytest.raises(RunError, match="more than a run"):
        fooocus_nb.open_run(page)


def test_a_page_that_would_be_too_large_is_a_zip(made_run, tmp_path, monkeypatch):
    monkeypatch.setattr("fooocus_nb.experiment.share.MAX_PAGE", 10_000)
    with pytest.warns(fooocus_nb.RunWarning, match="too large"):
        share = made_run(guidance_scale=[3]).share(tmp_path / "lighthouse.html")
    assert share.path.name == "lighthouse.zip"
    assert len(fooocus_nb.open_run(share.path).images) == 1
    assert not (tmp_path / "lighthouse.html").exists()


def test_a_sweep_goes_on_from_a_page_and_is_verified(demo, tmp_path):
    options = {
        "base": {"prompt": "a lighthouse", "width": 64, "height": 64, "steps": 1, "image_number": 1}
    }
    run = Sweep(guidance_scale=[3, 5], **options).run(demo, tmp_path / "here", show=False)
    page = run.share(tmp_path / "there" / "lighthouse.html").path
    first = [image.sha256 for image in run.images]
    run.close()
    shutil.rmtree(tmp_path / "here")
    found = fooocus_nb.open_run(page).verify(demo)
    assert found.ok
    assert found.counts["bytes"] == 2
    with pytest.warns(fooocus_nb.RunWarning, match="unpacked"):
        more = Sweep(guidance_scale=[3, 5, 7], **options).run(demo, page, show=False)
    assert more.path == tmp_path / "there" / "lighthouse"
    assert more.counts["made"] == 3
    assert len(more.images) == 3
    assert [image.sha256 for image in more.images][:2] == first
    assert {image.seed for image in more.images} == {more.images[0].seed}  # the one drawn before
    assert more.images[2].path.is_file()
    with pytest.raises(RunError, match="thumbnail only"):
        _ = more.images[0].path
    assert isinstance(more.images[0].manifest, Manifest)
    assert more.verify(demo).damaged == ()
    more.close()
    with pytest.raises(RunError, match="folder already"):
        more.restore(tmp_path / "x")
