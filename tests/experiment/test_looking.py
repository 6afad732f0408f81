"""Looking at a run: its axes, contact sheets, measures, the best images, and two runs compared."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import PIL.Image
import pytest

from fooocus_nb.errors import OutputError, ParameterError, RunLocked, RunWarning
from fooocus_nb.experiment.contact_sheet import inline_sheet, plan_sheet
from fooocus_nb.experiment.fonts import Typeface
from fooocus_nb.experiment.grid_data import GridRow, Roles, arranged, grid_data
from fooocus_nb.experiment.labels import axis_text, shortened
from fooocus_nb.widgets.run_grid import RunGrid

SEEDS = [6687881544318117707, 6687881544318117708]


# -- axes ---------------------------------------------------------------------------------------


def test_axes_are_those_in_which_the_images_differ(made_run):
    run = made_run(guidance_scale=[7, 3.0, 10], image_seed=SEEDS, left_out=1, failed=1)
    data = grid_data(run)
    assert [(axis.label, axis.texts) for axis in data.axes] == [
        ("guidance_scale", ("3", "7", "10")),
        ("seed", tuple(map(str, SEEDS))),
    ]
    assert data.roles() == Roles(0, 1)
    assert data.roles(x="seed") == Roles(1, 0)
    assert data.roles(x="image_seed", y="guidance_scale") == Roles(1, 0)
    states = [item.state for item in data.items]
    assert states == ["made"] * 4 + ["failed", "missing"]
    assert "too little memory" in data.items[4].reason


def test_several_images_of_a_request_are_an_axis(made_run):
    data = grid_data(made_run(guidance_scale=[3, 5], images_per_cell=2))
    assert [axis.label for axis in data.axes] == ["guidance_scale", "image"]
    assert data.roles() == Roles(0)
    assert len(data.items) == 4


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"x": "guidence_scale"}, "Did you mean 'guidance_scale'"),
        ({"y": "prompt"}, "it is the same in all images"),
        ({"x": "seed", "y": "image_seed"}, "each axis has one role"),
    ],
)
def test_an_axis_that_is_none_is_an_error_that_names_those_there_are(made_run, names, words):
    run = made_run(guidance_scale=[3, 5], image_seed=[1, 2], prompt=["a lighthouse"])
    with pytest.raises(ParameterError, match=words):
        run.grid(**names)


def test_what_follows_from_an_axis_is_none_itself():
    rows = [
        GridRow(
            f"k{n}", {"animal": a, "prompt": f"a {a} {t}", "guidance_scale": g}, axes=("animal",)
        )
        for n, (a, t, g) in enumerate([("cat", "", 3), ("dog", "", 3), ("cat", "", 5)])
    ]
    assert [axis.name for axis in arranged(rows).axes] == ["animal", "guidance_scale"]


@pytest.mark.parametrize(
    ("texts", "short"),
    [
        (["3", "5"], ["3", "5"]),
        (
            ["juggernautXL_v8Rundiffusion.safetensors", "juggernautXL_v9.safetensors"],
            ["…v8Rundiffusion", "…v9"],
        ),
        (
            ["a lighthouse at dusk in the rain, oil", "a lighthouse at dusk in the sun, oil"],
            ["…rain, oil", "…sun, oil"],
        ),
        (["photorealistic/a.ckpt", "photorealistic/a.ckpt"], ["photorealistic/a.ckpt"] * 2),
        (["a very long prompt", "a very long prompt indeed"], ["…prompt", "…prompt indeed"]),
    ],
)
def test_labels_are_cut_to_what_differs(texts, short):
    assert shortened(texts) == short


def test_values_are_written_as_people_write_them():
    values = [3.0, 2**63 - 1, True, ["Fooocus V2", "SAI Anime"], None, "sha256:" + "ab" * 32]
    assert [axis_text(value) for value in values] == [
        "3", "9223372036854775807", "True", "Fooocus V2, SAI Anime", "none", "image ababababab",
    ]  # fmt: skip


# -- contact sheets -----------------------------------------------------------------------------


def test_a_contact_sheet_has_every_image_at_its_place(made_run, tmp_path):
    run = made_run(guidance_scale=[3, 5], image_seed=[1, 2, 3], size=(64, 48), left_out=1)
    sheet = run.contact_sheet(tmp_path / "sheet.png", tile=64)
    assert [path.name for path in sheet] == ["sheet.png"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["sheet.png"]
    shown = np.asarray(PIL.Image.open(sheet).convert("RGB")).astype(int)
    for image in run.images:
        pixels = np.asarray(image.open().convert("RGB")).astype(int)
        rows, columns = np.where((np.abs(shown - pixels[0, 0]) <= 1).all(axis=2))
        assert any(
            np.array_equal(shown[y : y + 48, x : x + 64], pixels)
            for y, x in zip(rows, columns, strict=True)
        ), image.key
    assert "<img" in sheet._repr_html_()


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_other_formats(made_run, tmp_path, suffix):
    path = made_run(guidance_scale=[3, 5]).contact_sheet(tmp_path / f"sheet{suffix}").path
    with PIL.Image.open(path) as opened:
        assert opened.format == {".jpg": "JPEG", ".webp": "WEBP"}[suffix]


def test_the_size_is_known_before_and_the_limits_of_a_format_are_kept(made_run):
    data = arranged([GridRow(f"k{n}", {"a": n % 2, "b": n // 2}) for n in range(400)])
    plan = plan_sheet(data, Roles(0, 1), suffix=".png")
    assert (len(plan.sizes), plan.note) == (1, "")
    plan = plan_sheet(data, Roles(0, 1), suffix=".webp")
    assert len(plan.sizes) == 4
    assert all(max(size) <= 16_383 for size in plan.sizes)
    assert plan.note.startswith("4 sheets")
    data = arranged([GridRow(f"k{n}", {"a": n % 4, "b": n // 4}) for n in range(1000)])
    assert plan_sheet(data, Roles(0, 1), suffix=".jpg").note.startswith("The images are 2")


def test_a_small_sheet_for_a_notebook_shows_the_ends_of_each_axis(made_run):
    run = made_run(guidance_scale=list(range(5)), image_seed=list(range(20)), size=(24, 18))
    data = grid_data(run)
    sheet, count = inline_sheet(data, data.roles())
    assert 50 <= count <= 60
    assert len(sheet) * 4 / 3 < 600_000
    with PIL.Image.open(io.BytesIO(sheet)) as opened:
        assert opened.has_transparency_data  # so that it fits light and dark pages


def test_images_that_are_gone_leave_a_place_and_no_error(made_run, tmp_path):
    run = made_run(guidance_scale=[3, 5])
    run.images[0].path.unlink()
    run.images[1].path.write_bytes(b"no image")
    assert run.contact_sheet(tmp_path / "sheet.png").path.is_file()


def test_bad_sheets(made_run, tmp_path):
    run = made_run(guidance_scale=[3, 5])
    with pytest.raises(ParameterError, match=r"must end in one of: \.png"):
        run.contact_sheet(tmp_path / "sheet.gif")
    with pytest.raises(ParameterError, match="from 32 to 1024"):
        run.contact_sheet(tmp_path / "sheet.png", tile=5000)
    with pytest.raises(ParameterError, match="cannot be read as a font"):
        run.contact_sheet(tmp_path / "sheet.png", font=run.images[0].path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="The images are untouched"):
        run.contact_sheet(tmp_path / "file" / "sheet.png")
    with pytest.raises(ParameterError, match="has none yet"):
        made_run("empty", guidance_scale=[]).contact_sheet(tmp_path / "sheet.png")


def test_a_character_without_a_font_is_said():
    face = Typeface(16)
    assert face.width("a lighthouse") > 0
    assert not face.missing
    assert face.width("\U0001fae8\u0378 x") > 0  # a new emoji, and what is no character at all
    assert "\u0378" in face.missing


# -- measures, the best, comparisons --------------------------------------------------------------


def test_measures_are_kept_and_not_made_again(made_run):
    run = made_run(guidance_scale=[3, 5, 7])
    asked = []

    def light(image):
        asked.append(image.key)
        return np.asarray(image.open().convert("L")).mean()

    table = run.measure("light", light)
    assert len(table) == len(asked) == 3
    run.measure("light", light)
    assert len(asked) == 3
    run.measure("light", light, again=True)
    assert len(asked) == 6
    assert run.table().column("light") == table.column("light")
    lines = (run.path / "measures.jsonl").read_text()
    assert "NaN" not in lines


def test_what_is_no_number_is_nothing_with_a_reason_and_never_the_best(made_run):
    run = made_run(guidance_scale=[3, 5, 7, 9])
    values = iter([float("nan"), 2.0, float("inf"), np.float32(1.5)])
    table = run.measure("odd", lambda _: next(values))
    assert table.column("odd") == [None, 2.0, None, 1.5]
    assert table.column("reason") == ["not a number", None, "infinite", None]
    assert run.best("odd").key == run.images[1].key
    assert [image.key for image in run.best("odd", count=9, lowest=True)] == [
        run.images[3].key,
        run.images[1].key,
    ]


def test_an_image_that_cannot_be_measured_does_not_stop_the_others(made_run):
    run = made_run(guidance_scale=[3, 5])
    run.images[0].path.write_bytes(b"no image")
    with pytest.warns(RunWarning, match="no value for 000001"):
        table = run.measure("width", lambda image: image.open().width)
    assert table.column("width") == [None, 96]
    assert "UnidentifiedImageError" in table.column("reason")[0]


def test_numbers_of_numpy_and_far_too_large_ones(made_run):
    run = made_run(guidance_scale=[3, 5])
    run.rate(run.images[0], np.int64(3))
    assert run.images[0].rating == 3
    found = run.measure("large", lambda image: 10 ** (image.number_in_request * 400))
    assert [row["reason"] for row in found] == ["too large a number"] * 2
    assert list(run.measure("seeds", lambda image: 2**64).column("seeds")) == [2.0**64] * 2


def test_bad_measures(made_run):
    run = made_run(guidance_scale=[3, 5])
    with pytest.raises(ParameterError, match="cannot be the name"):
        run.measure("seed", len)
    with pytest.raises(ParameterError, match="must be callable"):
        run.measure("light", 3)
    with pytest.raises(ParameterError, match=r"no such measure.*rating"):
        run.best("light")
    with pytest.raises(ParameterError, match="No image is rated yet"):
        run.best()
    run.close()
    with pytest.raises(RunLocked):
        run.measure("light", lambda _: 1)


def test_the_best_by_rating(made_run):
    run = made_run(guidance_scale=[3, 5, 7])
    run.rate(run.images[1], 0)
    run.rate(run.images[2], 5)
    assert run.best().key == run.images[2].key
    assert [image.rating for image in run.best(count=5)] == [5, 0]


def test_two_runs_cell_by_cell(made_run):
    left = made_run("left", guidance_scale=[3, 5], image_seed=[1, 2])
    right = made_run("right", guidance_scale=[3, 5, 7], image_seed=[1, 2], salt=1)
    same = made_run("same", guidance_scale=[3, 5], image_seed=[1, 2], left_out=1)
    left.measure("light", lambda _: 3)
    compared = left.compare(right)
    assert compared.counts == {"different": 4, "only right": 2}
    table = compared.table()
    assert table.columns[:4] == ("guidance_scale", "seed", "same", "distance")
    assert table.column("light, left")[0] == 3
    assert left.compare(same).counts == {"bytes": 3, "only left": 1}
    data = compared.data()
    assert [axis.label for axis in data.axes] == ["guidance_scale", "seed", "run"]
    assert compared.image(data.items[-1].key).path.parent.parent.name == "right"
    assert len(compared.grid()) == 10
    with pytest.raises(ParameterError, match="it must be a run"):
        left.compare("right")


# -- the widget, without a browser -----------------------------------------------------------------


class Spoken(RunGrid):
    """A grid whose messages are kept, and whose requests are served at once."""

    def __init__(self, *args, **options):
        self.sent = []
        super().__init__(*args, **options)
        self._requests.submit = lambda task: task()
        self._requests.request = lambda wants: self._send_thumbnails(list(wants))

    def send(self, content, buffers=None):
        self.sent.append((content, buffers or []))

    def ask(self, **content):
        self.sent.clear()
        self._handle(self, {"ask": 1, "viewer": "me", **content}, [])
        return self.sent[0]


def test_the_widget_answers_and_survives_what_a_browser_may_send(made_run):
    run = made_run(guidance_scale=[3, 5], image_seed=SEEDS, failed=1)
    grid = Spoken(run)
    key = run.images[0].key
    assert [row[5] for row in grid.first["cells"]][:2] == [str(seed) for seed in SEEDS]
    said, buffers = grid.ask(kind="thumbs", wants=[[key, 160], ["nobody", 160], [key, 7], 3, None])
    assert said["thumbs"] == [[key, 160]]
    assert PIL.Image.open(io.BytesIO(buffers[0])).size == (96, 72)
    said, _ = grid.ask(kind="rate", key=key, rating=4)
    assert "error" not in said
    assert run.images[0].rating == 4
    said, _ = grid.ask(kind="rate", key=key, rating=9)
    assert "0 to 5" in said["error"]
    said, _ = grid.ask(kind="note", key=key, note="fine\x1b[31m light")
    assert run.images[0].note == "fine light"
    assert run.images[0].rating == 4
    said, buffers = grid.ask(kind="original", key=key)
    assert buffers[0] == run.images[0].path.read_bytes()
    said, _ = grid.ask(kind="hand_on", key=key, what="settings")
    assert said["text"].startswith("%%fooocus -n 1 --seed 6687881544318117707")
    said, _ = grid.ask(kind="hand_on", key=key, what="upscale")
    compile(said["text"], "cell", "exec")
    assert repr(key) in said["text"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "_store", lambda *_: 1 / 0)
        said, _ = grid.ask(kind="rate", key=key, rating=4)
        assert said["error"].startswith("ZeroDivisionError")  # the page does not wait for it
    for odd in ({}, {"kind": "rate"}, {"kind": "hand_on", "key": key, "what": "no"}, {"key": []}):
        grid._handle(grid, odd, [])
    grid._handle(grid, None, [])
    run.images[0].path.unlink()
    grid._thumbnails.clear()
    assert grid.ask(kind="thumbs", wants=[[key, 160]])[0]["broken"] == [[key, "The file is gone."]]


def test_a_run_that_is_only_read_says_so_when_it_is_rated(made_run):
    run = made_run(guidance_scale=[3, 5])
    grid = Spoken(run)
    run.close()
    assert Spoken(run).first["writable"] is False
    assert "can only be read" in grid.ask(kind="rate", key=run.images[0].key, rating=4)[0]["error"]


def test_what_came_since_is_sent_and_nothing_else(made_run):
    run = made_run(guidance_scale=[3, 5])
    grid = Spoken(run)
    grid.refresh()
    assert grid.sent == []
    run.rate(run.images[1], 3)
    grid.refresh()
    [(said, _)] = grid.sent
    assert [row[0] for row in said["cells"]] == [run.images[1].key]


def test_a_run_without_images_is_shown_as_such(made_run):
    run = made_run("empty", guidance_scale=[])
    grid = Spoken(run)
    assert grid.first["cells"] == []
    assert "0 images" in grid.static_html()
    assert len(run.table()) == 0
    assert run.compare(run).counts == {}


def test_what_remains_is_one_sheet_with_a_line_that_says_where_all_are(made_run):
    run = made_run(guidance_scale=list(range(9)), image_seed=list(range(9)), size=(24, 18))
    kept = run.grid().static_html()
    [sheet] = re.findall(r"data:image/webp;base64,([\w+/=]+)", kept)
    assert len(kept) < 600_000
    assert base64.b64decode(sheet)[:4] == b"RIFF"
    assert re.search(r"\d\d of 81 are shown. All images are in .*lighthouse", kept)
