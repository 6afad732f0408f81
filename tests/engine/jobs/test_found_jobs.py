"""Generations that outlive their kernel: found by the next one, watched, stopped, brought home."""

from __future__ import annotations

import json
import os
import time

import pytest

from fooocus_nb.engine.jobs.records import records_in

SLOW = {"FOOOCUS_DEMO_STEP_SECONDS": "0.1"}
KEEP = "e = fooocus_nb.start(demo=True, lifetime='detached', timeout=30, output_dir={!r})"
SUBMIT = "job = e.submit('a cat', seed=77, image_number={}, steps=4, width=64, height=64)"
#: Its second image waits for a file, so that no kernel comes too late.
KEEP_WAITING = KEEP.replace(
    "timeout=30,", "args=['--fault', 'cue=' + {!r}, '--fault', 'from-image=2'], timeout=30,"
)
DRAWING = "for event in job.events(30):\n    if getattr(event, 'step', None): break"


@pytest.fixture
def left_behind(peer, tmp_path):
    """Leave a generation of so many images behind, by killing its kernel."""

    def leave(images: int, output_dir: str = "first") -> None:
        kernel = peer(**SLOW)
        kernel.run(KEEP.format(str(tmp_path / output_dir)))
        kernel.run(SUBMIT.format(images))
        kernel.run(DRAWING)
        kernel.kill()

    return leave


def test_a_generation_goes_on_without_its_kernel_and_comes_home(peer, registry, tmp_path):
    cue = tmp_path / "cue"
    first = peer(**SLOW)
    first.run(KEEP_WAITING.format(str(cue), str(tmp_path / "first")))
    first.run(SUBMIT.format(3))
    first.run(DRAWING)
    first.kill()
    (entry,) = registry.entries()
    (record,) = records_in(entry.run_dir)
    assert record.orphaned
    assert record.request.seed == 77
    kernel = peer(**SLOW)
    kernel.run(KEEP_WAITING.format(str(cue), str(tmp_path / "second")))
    kernel.run("(job,) = e.found_jobs")
    # It is taken up by a thread of its own, a moment after the start has returned.
    kernel.run("import time\nwhile e.current_job is not job or e.state != 'busy': time.sleep(0.02)")
    cue.touch()
    assert kernel.value("job.request.given['prompt']") == "a cat"
    kernel.run("result = job.result(60)")
    assert kernel.value("[image.seed for image in result]") == [77, 78, 79]
    assert (
        kernel.value("[str(image.path.parent) for image in result]")
        == [str(tmp_path / "first")] * 3
    )
    assert kernel.value("job.snapshot().state") == "done"
    assert kernel.value("any('Seed = 77' in line for line in result.log)")
    assert kernel.value("e.last_result is not None and len(e.last_result)") == 3
    # The same again is the same picture, so the engine is well and nothing is mixed up.
    kernel.run("again = e.generate('a cat', seed=78, image_number=1, steps=4, width=64, height=64)")
    assert kernel.value("again[0].open().tobytes() == result[1].open().tobytes()")
    assert records_in(entry.run_dir) == []


@pytest.mark.slow
def test_it_is_found_where_python_had_begun_to_end_first(peer, tmp_path):
    """A Python that ends starts no threads any more, before it ends: that fails the job."""
    cue = tmp_path / "cue"
    kernel = peer(**SLOW)
    kernel.run(KEEP_WAITING.format(str(cue), str(tmp_path / "images")))
    kernel.run(SUBMIT.format(3))
    kernel.run("import time\nwhile not job.snapshot().paths: time.sleep(0.02)")
    kernel.run("import concurrent.futures.thread\nconcurrent.futures.thread._python_exit()")
    cue.touch()
    kernel.run("while job.exception() is None: time.sleep(0.02)")
    assert kernel.value("type(job.exception()).__name__") == "RuntimeError"
    kernel.kill()
    second = peer(**SLOW)
    second.run(KEEP_WAITING.format(str(cue), str(tmp_path / "images")))
    second.run("(job,) = e.found_jobs")
    assert second.value("[image.seed for image in job.result(60)]") == [77, 78, 79]


def test_it_can_be_stopped_from_the_next_kernel(left_behind, peer):
    left_behind(30)
    kernel = peer(**SLOW)
    kernel.run(KEEP.format("here"))
    kernel.run("import time\n(job,) = e.found_jobs")
    kernel.run("while not job.snapshot().paths: time.sleep(0.05)")
    kernel.run("job.stop(); result = job.result(60)")
    assert kernel.value("result.stopped, 0 < len(result) < 30") == [True, True]
    assert kernel.value("str(e.state)") == "ready"
    assert kernel.value("any('User stopped' in line for line in result.log)")


def test_what_was_let_go_of_is_found_again_by_the_same_kernel(peer, registry):
    kernel = peer(**SLOW)
    kernel.run(KEEP.format("here"))
    kernel.run(SUBMIT.format(2))
    kernel.run(DRAWING)
    kernel.run("e.detach()\ntry:\n    job.result(5)\nexcept Exception as error:\n    pass")
    assert kernel.value("type(job.exception()).__name__") == "EngineStopped"
    kernel.run("e.restart(30)")
    assert kernel.value("len(e.found_jobs[0].result(60))") == 2


def test_what_was_copied_before_the_same_kernel_detached_is_there_again(peer, registry):
    kernel = peer(**SLOW)
    kernel.run(KEEP.format("here"))
    kernel.run(SUBMIT.format(2))
    kernel.run("import time\nwhile not job.snapshot().paths: time.sleep(0.02)")
    kernel.run("first = job.snapshot().paths[0]; e.detach(); e.restart(30)")
    kernel.run("paths = e.found_jobs[0].result(60).paths")
    assert kernel.value("len(paths), paths[0] == first") == [2, True]


def test_one_that_had_not_begun_is_told(peer, registry):
    first, second = peer(**SLOW), peer(**SLOW)
    for kernel in (first, second):
        kernel.run(KEEP.format("here"))
    first.run(SUBMIT.format(30))
    first.run(DRAWING)
    second.run(SUBMIT.format(1).replace("77", "99"))
    second.run("import time\nwhile not job.snapshot().rank: time.sleep(0.02)")
    second.kill()
    third = peer(**SLOW)
    third.run("import fooocus_nb.engine.jobs.found_job as found_job\nfound_job.BEGIN_SECONDS = 1.0")
    third.run(KEEP.format("here"))
    first.run("job.stop(); job.result(60)")
    third.run("(job,) = e.found_jobs")
    third.run(
        "try:\n    job.result(60)\nexcept fooocus_nb.GenerationError as error: told = str(error)"
    )
    assert "had not begun" in third.value("told")
    (entry,) = registry.entries()
    assert records_in(entry.run_dir) == []


def test_records_are_small_whole_and_tolerant(tmp_path):
    from fooocus_nb.engine.jobs import records
    from fooocus_nb.fooocus.requests import Request

    request = Request({"prompt": "x", "picture": "y" * 20_000}, {"prompt": "x"}, 2**62)
    path = records.write(tmp_path, request, session_hash="abc", output_dir=tmp_path)
    (record,) = records_in(tmp_path)
    assert record.request.values == {"prompt": "x"}
    assert record.request.seed == 2**62
    assert (record.kernel, record.orphaned) == (os.getpid(), False)
    assert abs(record.started - time.time()) < 60
    records.mark_orphaned(path)
    assert records_in(tmp_path)[0].orphaned
    known = json.loads(path.read_text())
    for damaged in ("", "[]", "{}", json.dumps({**known, "session": "../x"}), "null"):
        (tmp_path / "job-torn.json").write_text(damaged)
        assert len(records_in(tmp_path)) == 1
    records.remove(path)
    records.remove(path)
    assert records_in(tmp_path) == []


def test_how_a_job_has_ended_is_noted_before_its_record_goes(tmp_path):
    """Else a kernel that is killed between the two leaves what looks as if it was never sent."""
    from fooocus_nb.engine.jobs import records
    from fooocus_nb.fooocus.requests import Request

    kept = records.JobRecords(lambda: tmp_path)
    path = records.record_path(tmp_path, "abc")
    noted: list[bool] = []

    def write():
        return kept.write(Request({}, {}, 1), session_hash="abc", output_dir=tmp_path)

    write()(lambda: noted.append(path.exists()))
    assert (noted, path.exists()) == ([True], False)
    ended, leave = write(), kept.orphan_all()
    ended(lambda: noted.append(False))
    leave()
    assert (noted, path.exists()) == ([True], True)  # a later kernel says it
    records.JobRecords(lambda: None).write(
        Request({}, {}, 1), session_hash="abc", output_dir=tmp_path
    )(lambda: noted.append(True))
    assert noted == [True, True]
