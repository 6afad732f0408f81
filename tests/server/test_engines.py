"""Engines by the server: listed, read, commanded, also while their kernel is busy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jsonschema
import PIL.Image
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

import fooocus_nb
from fooocus_nb.engine.grants import grant
from fooocus_nb.engine.jobs import records
from fooocus_nb.engine.log_pages import LostPlaceError, page_after, page_before, whole
from fooocus_nb.errors import ConnectionLost
from fooocus_nb.fooocus.client import Client
from fooocus_nb.fooocus.requests import Request
from fooocus_nb.server import byte_range, logs, thumbnail_cache
from fooocus_nb.server import directory as directory_module
from fooocus_nb.server.byte_range import (
    UnsatisfiableRangeError,
    matches,
    precondition,
    range_applies,
    requested_range,
)
from fooocus_nb.server.commands import NotPossibleError, command_generation
from fooocus_nb.server.directory import Directory
from fooocus_nb.server.status import document
from fooocus_nb.server.thumbnail_cache import NoImageError, ThumbnailCache, TooManyError
from fooocus_nb.supervisor._rotate import RotatingWriter
from fooocus_nb.supervisor.system import creation_time

from .conftest import NAME, quoted
from .live import SECONDS, until

if TYPE_CHECKING:
    from pathlib import Path

ENGINE = f"/engines/{quoted()}"


def check_against(schema: str, content: Any) -> None:
    whole_document = document("/")
    reference = {"$ref": f"#/components/schemas/{schema}"}
    jsonschema.validate(content, {**reference, "components": whole_document["components"]})


# -- listed -----------------------------------------------------------------------------------


async def test_engines_are_listed(ask, engine):
    told = (await ask("/engines")).json
    check_against("Engines", told)
    (one,) = told["engines"]
    assert (one["name"], one["pid"], one["url"]) == (NAME, engine.pid, engine.url)
    assert (one["title"], one["state"], one["users"]) == ("demo engine", "ready", 1)
    assert (one["generation"], one["elsewhere"], one["version"]) == (None, None, None)
    assert one["memory"] > 1e6
    assert [kernel["pid"] for kernel in one["kernels"]] == [os.getpid()]
    for name in (quoted(), str(engine.pid)):
        assert (await ask(f"/engines/{name}")).json["id"] == one["id"]
    missing = await ask("/engines/nobody")
    assert (missing.status, NAME in missing.message) == (404, True)


async def test_it_says_what_it_is(ask, engine):
    told = (await ask("/status")).json
    check_against("Status", told)
    assert told["version"] == fooocus_nb.__version__
    assert told["page"] is (told["reason"] is None)


@pytest.mark.parametrize(
    ("version", "said"),
    [("2.20.0", "2.20.0: versions below 2.21"), ("3.0.1", None), ("2.21", None)],
)
def test_the_page_takes_a_server_without_the_known_hole(monkeypatch, version, said):
    from fooocus_nb.server import versions

    monkeypatch.setattr(versions.importlib.metadata, "version", lambda _name: version)
    monkeypatch.setattr(versions.importlib.util, "find_spec", lambda _name: object())
    reason = versions.why_no_page()
    assert reason is None if said is None else said in reason
    monkeypatch.setattr(versions.importlib.util, "find_spec", lambda _name: None)
    assert "Install jupyter" in versions.why_no_page() or "fooocus-nb[ui]" in versions.why_no_page()


# -- commanded --------------------------------------------------------------------------------


async def test_a_generation_is_skipped_and_stopped_for_its_kernel(ask, start_demo):
    """The test's own thread stands for a kernel that waits in ``engine.generate()``."""
    engine = start_demo(name="busy", step=0.05)
    done: list[Any] = []
    waiting = threading.Thread(
        target=lambda: done.append(engine.generate("a cat", steps=200, image_number=3)), daemon=True
    )
    waiting.start()
    await until(lambda: engine.current_job and engine.current_job.snapshot().step)
    told = (await ask("/engines/busy")).json
    check_against("Engine", told)
    assert told["state"] == "busy"
    running = told["generation"]
    assert (running["prompt"], running["images"], running["kernel"]) == ("a cat", 3, os.getpid())
    assert running["seed"] == str(engine.current_job.request.seed)
    other = json.dumps({"session": "0" * 16})
    refused = await ask("/engines/busy/generation/skip", "POST", body=other)
    assert (refused.status, "has ended that" in refused.message) == (409, True)
    meant = json.dumps({"session": running["session"]})
    skipped = await ask("/engines/busy/generation/skip", "POST", body=meant)
    assert (skipped.status, skipped.json) == (202, {"session": running["session"]})
    await until(lambda: engine.current_job.snapshot().image == 2)
    assert (await ask("/engines/busy/generation/stop", "POST")).status == 202
    await until(lambda: done)
    assert done[0].stopped
    assert len(done[0]) < 3
    refused = await ask("/engines/busy/generation/stop", "POST")
    assert (refused.status, "generates nothing" in refused.message) == (409, True)


async def test_an_engine_is_restarted_by_its_kernel_and_stopped(ask, start_demo):
    engine = start_demo(name="again")
    before = engine.pid
    answer = await ask("/engines/again/restart", "POST", body="{}")
    assert answer.status == 202
    check_against("Commanded", answer.json)
    await until(lambda: engine.pid != before and engine.state == "ready")
    assert creation_time(before) is None
    answer = await ask("/engines/again/stop", "POST")
    assert (answer.status, answer.json["state"]) == (200, "stopped")
    await until(lambda: engine.state == "stopped")
    assert (await ask("/engines/again")).status == 404
    assert (await ask("/engines/again/stop", "POST")).status == 404


async def test_a_name_that_two_engines_answer_to_is_refused(ask, start_demo) -> None:
    first = start_demo(name="first")
    start_demo(name=str(first.pid))
    refused = await ask(f"/engines/{first.pid}")
    assert (refused.status, "Say which" in refused.message) == (409, True)


DETACHED = """
import os, sys, fooocus_nb
engine = fooocus_nb.start(demo=True, name="kept", lifetime="detached", output_dir=sys.argv[1],
                          env={"FOOOCUS_DEMO_STEP_SECONDS": "0.05"})
job = engine.submit("a dog", steps=200, image_number=2)
next(event for event in job.events(30) if getattr(event, "step", None))
print(engine.pid, flush=True)
sys.stdin.read()
"""


async def test_what_goes_on_without_a_kernel_is_commanded_directly(ask, runtime, tmp_path):
    kernel = subprocess.Popen(
        [sys.executable, "-c", DETACHED, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    pid = int(await loop.run_in_executor(None, kernel.stdout.readline))
    kernel.kill()
    kernel.communicate(timeout=10)
    try:

        def told() -> Any:
            return loop.create_task(ask(f"/engines/{pid}"))

        while (now := (await told()).json)["users"]:
            await asyncio.sleep(0.02)
        check_against("Engine", now)
        assert (now["lifetime"], now["kernels"], now["generation"]["kernel"]) == (
            "detached",
            [],
            None,
        )
        refused = await ask(f"/engines/{pid}/restart", "POST")
        assert (refused.status, "No kernel uses" in refused.message) == (409, True)
        assert (await ask(f"/engines/{pid}/generation/skip", "POST")).status == 202
        assert (await ask(f"/engines/{pid}/generation/stop", "POST")).status == 202
        log = ""
        while "User stopped" not in log:
            log = (await ask(f"/engines/{pid}/log")).json["text"]
            await asyncio.sleep(0.02)
        assert "User skipped" in log
    finally:
        assert (await ask(f"/engines/{pid}/stop", "POST")).status == 200
    assert creation_time(pid) is None


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
async def test_one_whose_guardian_is_stopped_is_told_and_ended(ask, start_demo, monkeypatch):
    monkeypatch.setattr("fooocus_nb.engine.listing.LOOK_TIMEOUT", 0.3)
    engine = start_demo(name="hung")
    pid, guardian = engine.pid, engine._process.child.guardian_pid
    os.kill(guardian, signal.SIGSTOP)
    assert (await ask("/engines/hung")).json["state"] == "unresponsive"
    refused = await ask("/engines/hung/restart", "POST")
    assert (refused.status, "guardian" in refused.message) == (409, True)
    assert (await ask("/engines/hung/stop", "POST")).status == 200
    assert creation_time(pid) is None


async def test_what_runs_elsewhere_is_listed_and_left_alone(ask, start_demo, runtime):
    engine = start_demo(name="far")
    (path,) = runtime.glob(f"{engine._process.run_dir.name}/guardian.json")
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "place": {**known["place"], "pid_namespace": "pid:[1]"}}))
    told = (await ask("/engines/far")).json
    check_against("Engine", told)
    assert (told["state"], "container" in told["elsewhere"]) == ("elsewhere", True)
    for verb in ("stop", "restart", "generation/stop"):
        answer = await ask(f"/engines/far/{verb}", "POST")
        assert answer.status == 409, verb
    assert (await ask("/engines/far/images")).status == 409
    path.write_text(json.dumps(known))
    assert engine.health().ok


@pytest.mark.parametrize(
    ("verb", "ends", "refused"),
    [
        ("stop", True, None),
        ("skip", True, "has ended that generation"),
        ("stop", False, "did not take the stop"),
    ],
)
def test_a_generation_that_others_end_at_that_moment_needs_no_stop(
    tmp_path, monkeypatch, verb, ends, refused
):
    path = records.write(tmp_path, Request({}, {}, 1), session_hash="abc", output_dir=tmp_path)
    assert path is not None
    listed: Any = SimpleNamespace(
        info=SimpleNamespace(name="e", url="http://127.0.0.1:1"),
        entry=SimpleNamespace(elsewhere=None, cwd=None, request=lambda *_: 0),
        records=records.records_in(tmp_path),
        generation=None,
    )

    async def lost(*_: Any, **__: Any) -> Any:
        if ends:
            path.unlink()
        raise ConnectionLost("The web server does not answer.")

    monkeypatch.setattr(Client, "connect", lost)
    if refused is None:
        assert command_generation(listed, verb, "abc") == "abc"
    else:
        with pytest.raises(NotPossibleError, match=refused):
            command_generation(listed, verb, "abc")


async def test_what_was_found_before_a_change_is_not_told_after_it(monkeypatch):
    begun, told = threading.Event(), threading.Event()
    answers = iter([["first"], ["second"], ["third"]])

    def survey() -> Any:
        found = next(answers)
        if found == ["second"]:
            begun.set()
            assert told.wait(SECONDS)
        return found

    monkeypatch.setattr(directory_module, "survey", survey)
    with ThreadPoolExecutor(1) as pool:
        directory = Directory(pool)
        assert [await directory.engines(), await directory.engines()] == [["first"], ["first"]]
        directory.forget()
        looking = asyncio.ensure_future(directory.engines())
        await until(begun.is_set)
        directory.forget()  # while it is looked for
        told.set()
        assert await looking == ["second"]
        assert [await directory.engines(), await directory.engines()] == [["third"], ["third"]]


# -- images -----------------------------------------------------------------------------------


async def test_images_come_whole_in_parts_and_small(ask, engine):
    told = (await ask(f"{ENGINE}/images?limit=2")).json
    check_against("Images", told)
    assert (told["total"], told["next"], len(told["images"])) == (3, 2, 2)
    rest = (await ask(f"{ENGINE}/images?limit=2&offset=2")).json
    assert (rest["next"], len(rest["images"])) == (None, 1)
    listed = [*told["images"], *rest["images"]]
    assert {each["name"] for each in listed} == {each.path.name for each in engine.last_result}
    assert [each["modified"] for each in listed] == sorted(
        (each["modified"] for each in listed), reverse=True
    )
    one = listed[0]
    data = (engine.output_dir / one["name"]).read_bytes()
    whole_image = await ask(f"/images/{one['id']}")
    assert (whole_image.status, whole_image.body) == (200, data)
    assert whole_image.headers["Content-Type"] == "image/png"
    assert whole_image.headers["Cache-Control"] == "private, no-cache"
    head = await ask(f"/images/{one['id']}", "HEAD")
    assert (head.body, int(head.headers["Content-Length"])) == (b"", len(data))
    tag = whole_image.headers["ETag"]
    small = await ask(f"/images/{one['id']}/thumbnail?size=96")
    assert (small.status, small.headers["Content-Type"]) == (200, "image/webp")
    assert small.body[8:12] == b"WEBP"
    await parts_and_tags(ask, one["id"], data, tag, small.headers["ETag"])


async def parts_and_tags(ask, identity: str, data: bytes, tag: str, small_tag: str) -> None:
    for asked, begin, end in (
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, len(data)),
        ("bytes=-7", len(data) - 7, len(data)),
        (f"bytes=0-{len(data) * 2}", 0, len(data)),
    ):
        answer = await ask(f"/images/{identity}", extra={"Range": asked})
        assert (answer.status, answer.body) == (206, data[begin:end]), asked
        assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(data)}"
    for asked in ("bytes=5-3", "lines=1-2", "bytes=0-1,4-5", "bytes=", "nonsense"):
        answer = await ask(f"/images/{identity}", extra={"Range": asked})
        assert (answer.status, answer.body) == (200, data), asked
    beyond = await ask(f"/images/{identity}", extra={"Range": f"bytes={len(data)}-"})
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(data)}")
    assert beyond.message
    same = await ask(f"/images/{identity}", extra={"If-None-Match": f'"x", W/{tag}'})
    assert (same.status, same.body) == (304, b"")
    stale = await ask(f"/images/{identity}", extra={"Range": "bytes=0-9", "If-Range": '"x"'})
    assert (stale.status, stale.body) == (200, data)
    fresh = await ask(f"/images/{identity}", extra={"Range": "bytes=0-9", "If-Range": tag})
    assert fresh.status == 206
    same = await ask(f"/images/{identity}/thumbnail?size=96", extra={"If-None-Match": small_tag})
    assert (same.status, same.body) == (304, b"")
    for path, known in ((f"/images/{identity}", tag), (f"/images/{identity}/thumbnail", None)):
        whole_image = await ask(path)
        date = whole_image.headers["Last-Modified"]
        for extra, status in (
            ({"If-Modified-Since": date}, 304),
            ({"If-Unmodified-Since": date}, 200),
            ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 412),
            ({"If-Match": '"x"'}, 412),
            ({"If-Match": known or whole_image.headers["ETag"]}, 200),
        ):
            assert (await ask(path, extra=extra)).status == status, (path, extra)
            head = await ask(path, "HEAD", extra={**extra, "Range": f"bytes={len(data)}-"})
            assert (head.status, head.body) == (status, b""), (path, extra)
    # A part is asked for by GET alone.
    head = await ask(f"/images/{identity}", "HEAD", extra={"Range": "bytes=0-9"})
    assert (head.status, int(head.headers["Content-Length"])) == (200, len(data))


async def test_a_changed_image_gets_another_tag_and_thumbnail(ask, tmp_path):
    path = tmp_path / "one.png"
    answers = []
    for colour in ("red", "blue"):
        PIL.Image.new("RGB", (300, 200), colour).save(path)
        identity = grant(path)
        whole_image, small = (
            await ask(f"/images/{identity}"),
            await ask(f"/images/{identity}/thumbnail"),
        )
        answers.append((whole_image.headers["ETag"], small.headers["ETag"], small.body))
    assert all(first != second for first, second in zip(*answers, strict=True))


class TestLargest:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["FooocusExtension"]["max_image_bytes"] = 1000
        return jp_server_config

    async def test_one_that_is_too_large_is_refused(self, ask, tmp_path):
        path = tmp_path / "large.png"
        PIL.Image.effect_noise((200, 200), 50).save(path)
        answer = await ask(f"/images/{grant(path)}")
        assert (answer.status, "1,000 bytes" in answer.message) == (403, True)
        assert (await ask(f"/images/{grant(path)}/thumbnail")).status == 200


async def test_thumbnails_are_made_once_and_bounded(tmp_path, monkeypatch):
    made: list[Path] = []
    make = thumbnail_cache._make

    def counted(path: Path, side: int) -> Any:
        made.append(path)
        return make(path, side)

    monkeypatch.setattr(thumbnail_cache, "_make", counted)
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path in paths:
        PIL.Image.effect_noise((400, 300), 90).save(path)
    cache = ThumbnailCache(100_000, workers=2)
    try:
        same = await asyncio.gather(*(cache.get(paths[0], 320) for _ in range(20)))
        assert len(made) == 1
        assert len({one.data for one in same}) == 1
        for path in paths:
            await cache.get(path, 320)
            assert 0 < cache.held <= 100_000
        assert len(made) == 6
        await cache.get(paths[0], 320)  # its place was needed
        assert len(made) == 7
        monkeypatch.setattr(thumbnail_cache, "MAX_WAITING", 0)
        with pytest.raises(TooManyError):
            await cache.get(paths[1], 96)
        monkeypatch.setattr(thumbnail_cache, "MAX_WAITING", 10)
        monkeypatch.setattr(thumbnail_cache, "MAX_PIXELS", 100)
        with pytest.raises(NoImageError, match="400 x 300 pixels"):
            await cache.get(paths[2], 96)
        (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
        with pytest.raises(NoImageError, match="no image"):
            await cache.get(tmp_path / "bad.png", 96)
        with pytest.raises(OSError, match="gone"):
            await cache.get(tmp_path / "gone.png", 96)
    finally:
        cache.close()


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None), ("bytes=0-0", (0, 1)), ("bytes=-200", (0, 100)), ("bytes=99-", (99, 100)),
        ("bytes=1-0", None), ("bytes=-", None), ("bytes= 5 - 6", (5, 7)), ("Bytes=0-1", (0, 2)),
        ("bytes=0-1, 5-6", None), ("bytes=٣-٤", None), ("bytes=" + "9" * 30 + "-", None),
    ],
)  # fmt: skip
def test_ranges(header, part):
    assert requested_range(header, 100) == part


def test_ranges_beyond_the_end():
    for header in ("bytes=100-", "bytes=500-600", "bytes=-0"):
        with pytest.raises(UnsatisfiableRangeError):
            requested_range(header, 100)
    with pytest.raises(UnsatisfiableRangeError):
        requested_range("bytes=0-", 0)
    assert matches("*", '"a"')
    assert not matches('"b"', '"a"')


TAG, THEN, NOW = '"a"', "Sat, 28 Nov 2026 06:00:00 GMT", "Sat, 28 Nov 2026 07:00:00 GMT"
MODIFIED = 1_795_845_600.75  # a moment after THEN


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"If-Match": "*"}, None), ({"If-Match": f'"x", {TAG}'}, None), ({"If-Match": '"x"'}, 412),
        ({"If-Match": f"W/{TAG}"}, 412),  # a weak tag does not say that the bytes are the same
        ({"If-Match": TAG, "If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, None),
        ({"If-Unmodified-Since": THEN}, None), ({"If-Unmodified-Since": "yesterday"}, None),
        ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 412),
        ({"If-None-Match": f"W/{TAG}"}, 304), ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"', "If-Modified-Since": NOW}, None),
        ({"If-None-Match": "", "If-Modified-Since": NOW}, None),
        ({"If-Modified-Since": THEN}, 304), ({"If-Modified-Since": NOW}, 304),
        ({"If-Modified-Since": "Sat, 28 Nov 2026 05:59:59 GMT"}, None),
        ({"If-Modified-Since": "Saturday, 28-Nov-26 06:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Mon, 99 Foo 99999 99:99:99 GMT"}, None),
        ({"If-Match": TAG, "If-None-Match": TAG}, 304),
    ],
)  # fmt: skip
def test_conditions(headers, status):
    assert precondition(headers, TAG, MODIFIED) == status


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        (None, True), (TAG, True), (f"W/{TAG}", False), ('"x"', False), ("", False),
        (THEN, True), (NOW, False), ("Sat, 28 Nov 2026 05:59:59 GMT", False), ("then", False),
    ],
)  # fmt: skip
def test_the_condition_of_a_range(condition, applies, monkeypatch):
    monkeypatch.setattr(byte_range.time, "time", lambda: MODIFIED + 60)
    assert range_applies(condition, TAG, MODIFIED) == applies
    monkeypatch.setattr(byte_range.time, "time", lambda: MODIFIED + 0.5)
    # What was written a moment ago may be written again within the same second.
    assert range_applies(condition, TAG, MODIFIED) == (applies and condition != THEN)


# -- logs -------------------------------------------------------------------------------------


async def test_a_log_is_read_back_to_its_beginning(ask, engine):
    place, pages = "", []
    while True:
        answer = await ask(f"{ENGINE}/log?bytes=700" + (f"&before={place}" if place else ""))
        check_against("LogPage", answer.json)
        page = answer.json
        if not page["more"] and not page["count"]:
            break
        pages.insert(0, page["text"])
        place = page["begin"]
        if not page["more"]:
            break
    assert len(pages) > 3
    kept = [line for line in engine.tail(5000) if line]
    text = "\n".join(pages)
    assert all(line in text for line in kept if "it/s" not in line)
    first = (await ask(f"{ENGINE}/log?bytes=700&after={place}")).json
    assert first["text"].splitlines()[0] == pages[0].splitlines()[0]
    file = await ask(f"{ENGINE}/log/file")
    assert file.headers["Content-Disposition"] == 'attachment; filename="a_b_c_.log"'
    assert file.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert len(file.body) >= engine.log_path.stat().st_size - 10


def test_pages_of_a_log_hold_while_it_is_rotated(tmp_path):
    path = tmp_path / "engine.log"
    writer = RotatingWriter(str(path), 300, 2)
    lines = [f"line {number:04}\n".encode() for number in range(60)]
    for line in lines[:40]:
        writer.write(line)
    kept = b"".join(whole(path))
    assert b"".join(lines[:40]).endswith(kept)
    back, place = [], None
    while (page := page_before(path, place, 70)).data:
        assert page.data.endswith(b"\n")
        back.insert(0, page.data)
        place = page.begin
    assert b"".join(back) == kept
    assert page.before == 0
    middle = page_before(path, None, 50)
    for line in lines[40:]:
        writer.write(line)
    forth, place = [], middle.begin
    while (page := page_after(path, place, 70)).data:
        forth.append(page.data)
        place = page.end
    assert page.after == 0
    assert b"".join(forth) == b"".join(lines)[-len(b"".join(forth)) :]
    assert forth[0].startswith(middle.data[:10])
    for line in lines:
        writer.write(b"another " + line)
    with pytest.raises(LostPlaceError, match="rotated"):
        page_before(path, middle.begin, 50)
    writer.close()
    with pytest.raises(LostPlaceError, match="no place"):
        page_after(path, "x", 50)
    assert page_before(tmp_path / "none.log", None, 50).data == b""
    assert list(whole(tmp_path / "none.log")) == []


async def follow(port: int, base: str, name: str, headers: dict[str, str]) -> Any:
    url = f"ws://127.0.0.1:{port}{base}fooocus-nb/api/engines/{name}/log/follow"
    return await websocket_connect(HTTPRequest(url, headers=headers, request_timeout=SECONDS))


async def test_a_log_is_followed_to_the_end_of_its_engine(
    extension, ask, start_demo, http_server, jp_http_port, jp_base_url, jp_auth_header
):
    engine = start_demo(name="told")
    socket = await follow(jp_http_port, jp_base_url, "told", jp_auth_header)
    first = json.loads(await socket.read_message())
    assert engine.tail(1)[0] in first["text"]
    assert len(first["levels"]) == first["count"]
    await socket.write_message("whatever it says")
    with engine.log_path.open("a") as file:
        file.write("HF_TOKEN=hf_0123456789abcdefghij\nTraceback (most recent call last):\n")
    text = ""
    while "Traceback" not in text:
        text += json.loads(await socket.read_message())["text"]
    assert "HF_TOKEN=***" in text
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, engine.stop)
    while await socket.read_message() is not None:
        pass
    assert (socket.close_code, socket.close_reason) == (1000, "the engine has ended")


class TestFollowers:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["FooocusExtension"] |= {"max_log_followers": 1, "ping_interval": 0.1}
        return jp_server_config

    async def test_their_number_is_bounded_and_silence_is_pinged(
        self, extension, engine, http_server, jp_http_port, jp_base_url, jp_auth_header
    ):
        """A proxy on the way, as nginx or a cloud's, closes what is silent for a while (S1)."""
        proxy = IdleProxy(jp_http_port)
        port = await proxy.start()
        try:
            socket = await follow(port, jp_base_url, quoted(), jp_auth_header)
            assert json.loads(await socket.read_message())["count"]
            with pytest.raises(Exception, match="503"):
                await follow(jp_http_port, jp_base_url, quoted(), jp_auth_header)
            await until(lambda: proxy.rounds >= 4)  # each as long as it would bear silence
            assert not proxy.closed
            with engine.log_path.open("a") as file:
                file.write("still there\n")
            assert "still there" in json.loads(await socket.read_message())["text"]
            socket.close()
            await until(lambda: proxy.closed)
        finally:
            await proxy.stop()

    async def test_those_that_come_at_once_are_counted(
        self, extension, engine, http_server, jp_http_port, jp_base_url, jp_auth_header
    ):
        followers = await asyncio.gather(
            *(follow(jp_http_port, jp_base_url, quoted(), jp_auth_header) for _ in range(3)),
            return_exceptions=True,
        )
        opened = [each for each in followers if not isinstance(each, BaseException)]
        assert len(opened) == 1
        opened[0].close()

    async def test_a_log_that_cannot_be_followed_ends_the_connection(
        self, extension, engine, http_server, jp_http_port, jp_base_url, jp_auth_header, monkeypatch
    ):
        def broken(*_: Any) -> Any:
            raise OSError("the disk is gone")

        monkeypatch.setattr(logs, "LogReader", broken)
        socket = await follow(jp_http_port, jp_base_url, quoted(), jp_auth_header)
        assert await asyncio.wait_for(socket.read_message(), SECONDS) is None
        assert socket.close_code == 1011


class IdleProxy:
    """Passes bytes on, and closes a connection that was silent for a second."""

    SILENCE = 1.0

    def __init__(self, port: int) -> None:
        self._port = port
        self.rounds = 0
        self.closed = False

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._watch = asyncio.ensure_future(self._count())
        return self._server.sockets[0].getsockname()[1]

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(self.SILENCE)
            self.rounds += 1

    async def _serve(self, reader: Any, writer: Any) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._heard = time.monotonic()
        pumps = [
            asyncio.ensure_future(self._pump(*way)) for way in ((reader, back), (there, writer))
        ]
        while not any(pump.done() for pump in pumps):
            await asyncio.sleep(0.02)
            if time.monotonic() - self._heard > self.SILENCE:
                break
        self.closed = True
        for pump in pumps:
            pump.cancel()
        for each in (writer, back):
            each.close()

    async def _pump(self, reader: Any, writer: Any) -> None:
        while data := await reader.read(65536):
            self._heard = time.monotonic()
            writer.write(data)
            await writer.drain()

    async def stop(self) -> None:
        self._watch.cancel()
        self._server.close()
