"""Sweeps on the demo engine: made once, resumed, retried, skipped, and refused where they must."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import PIL.Image
import pytest

from fooocus_nb import GenerationError, ParameterError, RunError, Sweep, Upscale, open_run
from fooocus_nb.experiment.grid_data import grid_data
from fooocus_nb.experiment.launch import Options, prepare
from fooocus_nb.experiment.workers import EngineWorker
from fooocus_nb.widgets.sweep_widget import SweepWidget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fooocus_nb import Engine, Run

SMALL = {"width": 64, "height": 64, "steps": 1, "image_number": 1}


def seeds(run: Run) -> list[int | None]:
    return sorted(image.seed for image in run.images)


class Failing(EngineWorker):
    """An engine that fails with some seeds, until it is healed."""

    def __init__(self, engine: Engine, bad: set[str]) -> None:
        super().__init__(engine)
        self.bad = bad

    def sweep_workers(self) -> list[Failing]:
        return [self]

    def make(self, task, attempt, begun) -> None:
        if task.cell.values["image_seed"] in self.bad:
            msg = "the demo does not like this seed"
            raise GenerationError(msg)
        super().make(task, attempt, begun)


# -- made once --------------------------------------------------------------------------------


def test_the_same_sweep_twice_gives_the_same_bytes(demo: Engine, tmp_path: Path) -> None:
    sweep = Sweep(prompt=["a lighthouse", "a harbour"], seed=[1, 2], base=SMALL)
    one, other = sweep.run(demo, tmp_path / "one"), sweep.run(demo, tmp_path / "other")
    assert len(one.images) == 4
    assert [image.sha256 for image in one.images] == [image.sha256 for image in other.images]
    assert [image.cell for image in one.images] == [cell.id for cell in sweep.cells()]
    assert one.counts == {"planned": 4, "made": 4, "failed": 0, "skipped": 0, "missing": 0}
    one.close()
    other.close()


def test_a_second_run_makes_only_what_is_missing(demo: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sweep = Sweep(prompt="a", guidance_scale=[3, 5], base=SMALL)
    first = sweep.run(demo, folder)
    drawn = first.images[0].seed
    before = {image.key: image.sha256 for image in first.images}
    first.close()
    # Another kernel has drawn another seed: the run's own counts.
    longer = Sweep(guidance_scale=[7, 5.0, 3], prompt=["a"], base=SMALL)
    assert longer.drawn_seed != drawn
    plan = longer.plan(demo, folder)
    assert (plan.made, len(plan.cells), plan.seed) == (2, 1, drawn)
    assert plan.seconds is not None
    second = longer.run(demo, folder)
    after = {image.key: image.sha256 for image in second.images}
    assert len(after) == 3
    assert before.items() <= after.items()
    assert {image.seed for image in second.images} == {drawn}
    text = (folder / "plan.jsonl").read_text() + (folder / "attempts.jsonl").read_text()
    assert "-1" not in [json.loads(line).get("seed") for line in text.splitlines()]
    second.close()


def test_several_images_of_a_cell_and_cells_left_for_later(demo: Engine, tmp_path: Path) -> None:
    sweep = Sweep(prompt="a", seed=[1, 2, 3], later={"seed": 3}, base={**SMALL, "image_number": 2})
    plan = sweep.plan(demo)
    assert (plan.later, plan.images) == (1, 4)
    assert any("made twice" in note for note in plan.notes)
    run = sweep.run(demo, tmp_path / "run")
    assert seeds(run) == [1, 2, 2, 3]
    assert [image.number_in_request for image in run.images] == [1, 2, 1, 2]
    assert run.counts["missing"] == 1
    run = sweep.run(demo, tmp_path / "run", limit=1)
    assert run.counts["missing"] == 1
    run.close()


def test_how_many_images_a_cell_has_can_be_an_axis(demo: Engine, tmp_path: Path) -> None:
    base = {name: value for name, value in SMALL.items() if name != "image_number"}
    sweep = Sweep(prompt="a", image_number=[1, 2], seed=[1, 10], base=base)
    run = sweep.run(demo, tmp_path / "run")
    assert seeds(run) == [1, 1, 2, 10, 10, 11]
    assert [axis.label for axis in grid_data(run).axes] == ["image_number", "seed", "image"]
    assert [row["image_number"] for row in run.table()] == [1, 1, 2, 2, 2, 2]
    run.close()


def test_a_folder_of_photos_goes_in_and_a_run_comes_out(demo: Engine, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, colour in enumerate(("red", "green")):
        PIL.Image.new("RGB", (64, 64), colour).save(photos / f"{number}.png")
    sweep = Sweep(image=f"{photos}/*.png", task=Upscale("1.5x"), seed=1)
    run = sweep.run(demo, tmp_path / "run")
    assert [(image.width, image.height) for image in run.images] == [(96, 96)] * 2
    names = [run.cells[image.cell].axes["image"]["name"] for image in run.images]
    assert names == ["0.png", "1.png"]
    assert len(list((tmp_path / "run" / "inputs").iterdir())) == 2
    run.close()
    moved = (photos / "0.png").rename(photos / "z.png")
    again = Sweep(image=[moved, photos / "1.png"], task=Upscale(by=1.5), seed=1)
    assert not again.plan(demo, tmp_path / "run").cells


def test_presets_are_an_axis_and_the_engine_has_its_own_again(demo: Engine, tmp_path: Path) -> None:
    before = demo.current_preset
    sweep = Sweep(preset=["anime", "realistic"], prompt="a", seed=[1, 2], base=SMALL)
    plan = sweep.plan(demo)
    assert plan.swaps["preset"] == 1
    run = sweep.run(demo, tmp_path / "run")
    assert {m.fooocus["preset"] for m in run.manifests} == {"anime", "realistic"}
    assert len({image.parameters["base_model"] for image in run.images}) == 2
    assert demo.current_preset == before
    run.close()


def test_a_sweep_can_be_awaited(demo: Engine, tmp_path: Path) -> None:
    sweep = Sweep(prompt="a", seed=[1, 2], base=SMALL)
    run = asyncio.run(sweep.arun(demo, tmp_path / "run"))
    assert seeds(run) == [1, 2]
    run.close()


def test_two_engines_share_the_work(
    demo: Engine, start_demo: Callable[..., Engine], tmp_path: Path
) -> None:
    sweep = Sweep(prompt="a", seed=range(8), base=SMALL)
    run = sweep.run([demo, start_demo()], tmp_path / "run")
    assert seeds(run) == list(range(8))
    assert len({manifest.engine["name"] for manifest in run.manifests}) == 2
    run.close()


# -- failures ---------------------------------------------------------------------------------


def test_a_failed_cell_is_recorded_and_made_by_retry(demo: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sweep = Sweep(prompt="a", seed=[1, 2, 3], base=SMALL)
    told = []
    run = sweep.run(Failing(demo, {"2"}), folder, on_error=lambda cell, error: told.append(error))
    assert seeds(run) == [1, 3]
    assert [failure.error["type"] for failure in run.failures] == ["GenerationError"]
    assert len(told) == 1
    assert run.counts == {"planned": 3, "made": 2, "failed": 1, "skipped": 0, "missing": 0}
    run.close()
    # Run again, nothing is tried anew; opened again, one call does it.
    assert sweep.run(demo, folder).counts["failed"] == 1
    run.close()
    again = open_run(folder)
    assert again.retry(demo) == 1
    assert seeds(again) == [1, 2, 3]
    assert again.cells[again.images[1].cell].tries == 2
    again.close()


def test_a_failure_can_end_the_sweep(demo: Engine, tmp_path: Path) -> None:
    sweep = Sweep(prompt="a", seed=[1, 2, 3], base=SMALL)
    with pytest.raises(GenerationError, match="does not like"):
        sweep.run(Failing(demo, {"2"}), tmp_path / "run", on_error="stop")
    run = open_run(tmp_path / "run")
    assert run.counts == {"planned": 3, "made": 1, "failed": 1, "skipped": 0, "missing": 1}
    assert run.retry() == 1
    assert sweep.run(demo, tmp_path / "run").counts["made"] == 3
    run.close()
    with pytest.raises(ParameterError, match="on_error='go'"):
        sweep.run(demo, tmp_path / "run", on_error="go")


def test_out_of_memory_is_tried_once_more(
    start_demo: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = start_demo("oom=1")
    run = Sweep(prompt="a", seed=[1, 2], base=SMALL).run(engine, tmp_path / "run")
    assert [run.cells[image.cell].tries for image in run.images] == [2, 1]
    assert run.counts["failed"] == 0
    run.close()


def test_an_engine_that_stays_ill_is_restarted(
    start_demo: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = start_demo("oom")
    pid = engine.pid
    run = Sweep(prompt="a", seed=[1, 2], base=SMALL).run(engine, tmp_path / "run")
    assert run.counts["failed"] == 2
    assert {failure.error["type"] for failure in run.failures} == {"OutOfVRAM"}
    assert engine.pid != pid
    run.close()


def test_the_plan_says_how_large_grid_and_sheet_will_be(demo: Engine, tmp_path: Path) -> None:
    base = {**SMALL, "width": 96, "image_number": 2}
    sweep = Sweep(prompt="a lighthouse at dusk", guidance_scale=[3, 5, 7], seed=[1, 5], base=base)
    planned = sweep.plan(demo, tmp_path / "lighthouse").grid
    assert planned is not None
    assert (planned.columns, planned.rows, planned.images) == (3, 2, 12)
    run = sweep.run(demo, tmp_path / "lighthouse")
    (sheet,) = run.contact_sheet(tmp_path / "sheet.png")
    with PIL.Image.open(sheet) as opened:
        assert planned.sheets == (opened.size,)
    again = sweep.plan(demo, tmp_path / "lighthouse")
    assert again.grid == planned  # also when all is made
    text = f"{opened.size[0]:,} × {opened.size[1]:,} pixels"
    assert "3 columns (guidance_scale) × 2 rows (seed): 12 images" in str(again)
    assert text in str(again)
    assert text in again._repr_html_()
    run.close()


@pytest.mark.slow
def test_the_plan_says_that_a_sheet_gets_smaller_or_several_are_needed() -> None:
    def grid(count: int):
        return Sweep(prompt="a", guidance_scale=range(1, count + 1), seed=range(count)).plan().grid

    smaller, several = grid(50), grid(120)
    assert smaller.sheets[0][0] <= 16_000
    assert smaller.note.startswith("The images are ")
    assert len(several.sheets) > 1
    assert "sheets of up to" in several.sheet_text
    assert several.images == 14_400
    assert Sweep(prompt="a", seed=range(30_000)).plan().grid.text.endswith("the first 20,000")


# -- what people ask meanwhile ----------------------------------------------------------------


def test_what_waits_is_skipped_and_what_runs_goes_on(
    start_demo: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = start_demo(step_seconds=0.05)
    sweep = Sweep(prompt="a", seed=[1, 2, 3, 4], base={**SMALL, "steps": 10})
    skipped_first = []

    def watch(progress) -> None:
        def changed(place: int) -> None:
            states = progress.states()
            if place == 0 and states[0] == "running" and not skipped_first:
                skipped_first.append(1)
                progress.skip(2)
                progress.skip(2)
            if place == 1 and states[1] == "running" and len(skipped_first) == 1:
                skipped_first.append(2)
                progress.skip()

        progress.subscribe(changed)

    launch = prepare(sweep, engine, tmp_path / "run", Options(watch=watch, show=False))
    run = launch.finish()
    assert launch.progress.states() == ("made", "skipped", "skipped", "made")
    assert run.counts == {"planned": 4, "made": 2, "failed": 0, "skipped": 2, "missing": 0}
    assert sweep.run(engine, tmp_path / "run").counts["skipped"] == 2
    run.close()


def test_skip_means_the_cell_that_was_seen(
    start_demo: Callable[..., Engine], tmp_path: Path
) -> None:
    """A message of the page that comes late skips nothing that has begun since."""
    engine = start_demo(step_seconds=0.05)
    sweep = Sweep(prompt="a", seed=[1, 2, 3], base={**SMALL, "steps": 10})
    asked: list[int] = []

    def watch(progress) -> None:
        widget = SweepWidget(progress, lambda place: b"", lambda job: b"")

        def say(content) -> None:
            widget._handle_custom_msg(content, [])  # as the page's messages come

        def changed(place: int) -> None:
            states = progress.states()
            if place == 1 and states[1] == "running" and not asked:
                asked.append(1)
                say({"kind": "skip", "running": [0]})  # seen while the first one ran
                say({"kind": "skip"})  # of nobody knows what
                say({"kind": "skip", "running": ["1", None, -1, 2]})
            if place == 2 and states[2] == "running" and len(asked) == 1:
                asked.append(2)
                say({"kind": "skip", "running": [1, 2]})

        progress.subscribe(changed)

    launch = prepare(sweep, engine, tmp_path / "run", Options(watch=watch, show=False))
    run = launch.finish()
    assert asked == [1, 2]
    assert launch.progress.states() == ("made", "made", "skipped")
    run.close()


def test_the_page_is_told_at_once_what_runs_and_what_its_tiles_show(
    start_demo: Callable[..., Engine], tmp_path: Path
) -> None:
    """What Skip would skip is never older than what is seen."""
    sent: list[tuple[list[int], list[int]]] = []

    class Sent(SweepWidget):
        def send_state(self, key=None) -> None:
            running = [place for place, _ in self.view.get("running", ())]
            sent.append((running, [at for at, sign in enumerate(self.states) if sign == "r"]))
            super().send_state(key)

    def watch(progress) -> None:
        widget = Sent(progress, lambda place: b"", lambda job: b"")
        progress.subscribe(lambda place: widget.show(None))

    sweep = Sweep(prompt="a", seed=[1, 2, 3], base=SMALL)
    prepare(
        sweep, start_demo(step_seconds=0.01), tmp_path / "run", Options(watch=watch, show=False)
    ).finish().close()
    assert [2] in [running for running, _ in sent]
    assert all(running == shown for running, shown in sent), sent


def test_a_stopped_sweep_is_continued(start_demo: Callable[..., Engine], tmp_path: Path) -> None:
    engine = start_demo(step_seconds=0.05)
    sweep = Sweep(prompt="a", seed=[1, 2, 3], base={**SMALL, "steps": 10})

    def watch(progress) -> None:
        stops = iter([progress.stop])
        progress.subscribe(
            lambda place: place == 1 and progress.states()[1] == "running" and next(stops, int)()
        )

    launch = prepare(sweep, engine, tmp_path / "run", Options(watch=watch, show=False))
    with pytest.raises(KeyboardInterrupt, match=r"1 of 3 made.*Run it again"):
        launch.finish()
    assert launch.progress.snapshot().state == "stopped"
    assert launch.run.counts["missing"] == 2
    assert launch.progress.resume is not None
    runner = launch.resume()
    runner.future.result(60)
    assert launch.run.counts["made"] == 3
    assert launch.progress.snapshot().state == "done"
    launch.run.close()


# -- refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "match"),
    [
        ({"guidance": [3]}, "no parameter 'guidance'.*guidance_scale"),
        ({"sampler": ["eulr"]}, "sampler_name='eulr'.*'euler'"),
        ({"base_model": ["nothing"]}, "base_model='nothing' is not possible"),
        ({"preset": ["anmie"]}, "preset='anmie'.*'anime'"),
        ({"guidance_scale": [3, 99]}, "guidance_scale=99.*1 to 30"),
        ({"seed": [1], "animal": ["cat"]}, "no parameter 'animal'"),
        ({"prompt": "{a|b|c} " * 20}, "3,486,784,401 cells"),
    ],
)
def test_invalid_values_are_told_before_anything_is_sent(
    demo: Engine, tmp_path: Path, axes: dict, match: str
) -> None:
    sweep = Sweep(**{"prompt": "a", **axes})
    plan = sweep.plan(demo, tmp_path / "run")
    assert not plan.ok
    assert "problem" in str(plan)
    with pytest.raises(ParameterError, match=f"nothing has been sent(.|\n)*{match}"):
        sweep.run(demo, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_broken_input_image_is_told_before_anything_is_sent(demo: Engine, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    sweep = Sweep(image=tmp_path / "bad.png", task=Upscale())
    with pytest.raises(ParameterError, match=r"bad\.png is not an image"):
        sweep.run(demo, tmp_path / "run")
    assert "0x" not in str(sweep.plan(demo))  # no address of an object


def test_an_input_image_that_was_changed_since_is_no_cell_of_the_sweep(
    demo: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    PIL.Image.new("RGB", (64, 64), "red").save(path)
    sweep = Sweep(image=path, task=Upscale(), seed=1)
    path.touch()  # the same bytes, another time
    assert sweep.plan(demo).ok
    PIL.Image.new("RGB", (64, 64), "blue").save(path)
    with pytest.raises(ParameterError, match=r"photo\.png.*has changed"):
        sweep.run(demo, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_folder_of_another_sweep_is_refused_with_the_difference(
    demo: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    Sweep(prompt="a", guidance_scale=[3], seed=1, base=SMALL).run(demo, folder).close()
    other = Sweep(prompt="b", sharpness=[2], guidance_scale=[5], seed=1, base=SMALL)
    before = (folder / "plan.jsonl").read_bytes()
    match = r"another sweep: sharpness is given here only; prompt is a there and b here; guidance"
    with pytest.raises(RunError, match=match):
        other.run(demo, folder)
    assert (folder / "plan.jsonl").read_bytes() == before
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("x")
    with pytest.raises(RunError, match=r"thesis\.txt"):
        other.run(demo, tmp_path / "home")


def test_another_engine_is_refused_unless_it_may_be_mixed(
    demo: Engine, start_demo: Callable[..., Engine], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    Sweep(prompt="a", seed=[1], base=SMALL).run(demo, folder).close()
    engine = start_demo(args=["--preset", "anime", "--vae-in-fp16"])
    longer = Sweep(prompt="a", seed=[1, 2], base=SMALL)
    match = "the preset was 'initial', and is 'anime' now(.|\n)*flags(.|\n)*--vae-in-fp16(.|\n)*mix"
    with pytest.raises(RunError, match=match):
        longer.run(engine, folder)
    run = longer.run(engine, folder, mix=True)
    assert [manifest.fooocus["preset"] for manifest in run.manifests] == ["initial", "anime"]
    run.close()


def test_what_is_no_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="A str cannot make a sweep's cells"):
        Sweep(prompt="a").run("demo", tmp_path / "run")
