"""The wire of Gradio 4.8, 5 and 6, against real servers of both that run a Fooocus-shaped app."""

from __future__ import annotations

import asyncio
import io
import re
import threading
import time
from collections import Counter
from contextlib import aclosing

import psutil
import pytest
from PIL import Image

from fooocus_nb.errors import (
    ConnectionLost,
    EngineError,
    GenerationError,
    ParameterError,
    UnsupportedParameter,
    UnsupportedServer,
)
from fooocus_nb.fooocus.client import Client, new_session_hash
from fooocus_nb.fooocus.events import Finished, ImageFinished, Preview, Progress, Queued, Started
from fooocus_nb.fooocus.requests import build_request
from fooocus_nb.fooocus.transport import Completed, Generating, parse_message
from fooocus_nb.fooocus.transport.gradio4 import Gradio4Transport

pytestmark = pytest.mark.filterwarnings("error")


def run(coroutine):
    """Run a test's coroutine, which must not take for ever."""

    async def limited():
        async with asyncio.timeout(100):
            return await coroutine

    return asyncio.run(limited())


def values_for(client, prompt, **parameters):
    return build_request(client.schema, prompt, parameters).values


async def events_of(client, values, session=None):
    session = session or new_session_hash()
    async with aclosing(client.generate(values, session_hash=session)) as stream:
        return [event async for event in stream]


def named(client, server):
    """Return what the latest task brought, by name."""
    return dict(zip(client.schema.steps[0].inputs, server.last("task")["values"], strict=True))


def generations(server):
    return sum(entry["call"] == "generate" for entry in server.calls())


def talking(server):
    """Return a decorator that runs a function with a client of the server."""

    def decorate(function):
        async def talk():
            async with await Client.connect(server.url) as client:
                return await function(client)

        return run(talk())

    return decorate


def test_three_images_with_previews(modern_server):
    async def generate(client):
        assert isinstance(client._transport, Gradio4Transport)
        values = values_for(client, "a cat", image_number=3, seed=5, sharpness=9.5)
        events = await events_of(client, values)
        pictures = [await client.fetch(path) for path in events[-1].paths]
        return client, values, events, pictures

    client, values, events, pictures = talking(modern_server)(generate)
    assert [type(event) for event in events if isinstance(event, (Queued, Started))][:1] == [Queued]
    assert isinstance(events[-1], Finished)
    assert len(events[-1].paths) == 3
    finished = [event.path for event in events if isinstance(event, ImageFinished)]
    assert finished == list(events[-1].paths)
    steps = [event for event in events if isinstance(event, Progress) and event.step]
    assert (steps[-1].step, steps[-1].image, steps[-1].images) == (3, 3, 3)
    previews = [event for event in events if isinstance(event, Preview)]
    assert previews
    with Image.open(io.BytesIO(previews[0].data)) as picture:
        assert picture.size == (32, 32)
    for index, data in enumerate(pictures):
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.convert("RGB").getpixel((0, 0)) == (5 + index, 0, index + 1)
    arrived = named(client, modern_server)
    assert len(arrived) == 153
    assert {name: arrived[name] for name in values} == dict(values)
    assert list(client.schema.parameters) == [name for name in arrived if name != "currentTask"]
    assert client.schema.parameters["inpaint_input_image"].type == "mask image"


@pytest.mark.parametrize(("verb", "images"), [("stop", 0), ("skip", 1)])
def test_a_running_generation_hears_us(modern_server, verb, images):
    async def generate(client):
        values = values_for(client, "slow", image_number=2, seed=1)
        session = new_session_hash()
        events = []
        async with aclosing(client.generate(values, session_hash=session)) as stream:
            async for event in stream:
                events.append(event)
                if isinstance(event, Progress) and (event.step, event.image) == (2, 1):
                    await getattr(client, verb)(session)
        return events

    events = talking(modern_server)(generate)
    assert len(events[-1].paths) == images
    steps = Counter(event.image for event in events if isinstance(event, Progress) and event.step)
    assert steps[1] < 50
    assert steps[2] == 50 * images


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("fail", "generation failed"), ("refuse", "did not accept the request")],
)
def test_a_failure_is_an_error_and_the_next_one_works(modern_server, prompt, message):
    async def generate(client):
        with pytest.raises(GenerationError, match=message):
            await events_of(client, values_for(client, prompt))
        return await events_of(client, values_for(client, "cat", image_number=1))

    assert len(talking(modern_server)(generate)[-1].paths) == 1


def test_nothing_made_is_an_empty_gallery(modern_server):
    async def generate(client):
        return await events_of(client, values_for(client, "nothing"))

    assert talking(modern_server)(generate)[-1] == Finished(())


def test_a_generator_without_a_task_is_told(modern_server):
    """The generator alone finds nothing in a new session: sessions share nothing."""

    async def generate(client):
        generator = client.schema.steps[-1]
        async with aclosing(client._transport.call(generator.fn_index, [None], "new")) as stream:
            return [message async for message in stream][-1]

    end = talking(modern_server)(generate)
    assert end.success
    assert all(entry is None for entry in end.data)


def test_the_session_is_one_generations_own(modern_server):
    async def generate(client):
        values = values_for(client, "cat", image_number=1)
        for session in ("one", "one", "two"):
            await events_of(client, values, session + new_session_hash()[:4] * (session != "one"))

    talking(modern_server)(generate)
    known = [entry["known"] for entry in modern_server.calls() if entry["call"] == "task"]
    assert known[-3:] == [False, True, False]


def test_generations_at_once_queue_and_do_not_mix(modern_server):
    async def generate(client):
        return await asyncio.gather(
            *(
                events_of(client, values_for(client, f"cat {seed}", image_number=1, seed=seed))
                for seed in (10, 20, 30)
            )
        )

    for seed, events in zip((10, 20, 30), talking(modern_server)(generate), strict=True):
        (path,) = events[-1].paths
        assert re.search(rf"/\d+ cat {seed} #?{seed} ", path)
        assert any(isinstance(event, Queued) for event in events)


def test_pictures_arrive(modern_server):
    picture = Image.new("RGB", (40, 24), (200, 100, 0))
    mask = Image.new("L", (40, 24))
    mask.paste(255, (0, 0, 20, 24))

    async def generate(client):
        values = values_for(
            client,
            "cat",
            image_number=1,
            uov_input_image=picture,
            inpaint_input_image=(picture, mask),
            ip_1_image=picture,
        )
        await events_of(client, values)
        return named(client, modern_server)

    arrived = talking(modern_server)(generate)
    assert arrived["uov_input_image"] == {"shape": [24, 40, 3], "mean": 100.0}
    assert arrived["ip_1_image"]["shape"] == [24, 40, 3]
    assert arrived["ip_2_image"] is None
    canvas = arrived["inpaint_input_image"]
    assert canvas["background"]["shape"][:2] == [24, 40]
    assert len(canvas["layers"]) == 1
    # White paint on the left half: three channels of 255, and alpha over half of it.
    assert canvas["layers"][0]["shape"] == [24, 40, 4]
    assert canvas["layers"][0]["mean"] == pytest.approx((3 * 255 + 127.5) / 4)


def test_a_generation_that_is_left_frees_the_queue_and_leaves_nothing(modern_server):
    process = psutil.Process()

    def held():
        descriptors = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
        return process.num_threads(), descriptors, len(asyncio.all_tasks())

    async def generate(client):
        await events_of(client, values_for(client, "cat", image_number=1))
        before = held()
        values = values_for(client, "slow", image_number=1)
        started = generations(modern_server)
        task = asyncio.create_task(events_of(client, values))
        while generations(modern_server) == started:
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(5):
            events = await events_of(client, values_for(client, "cat", image_number=1))
            assert len(events[-1].paths) == 1
        assert not client._transport._streams
        deadline = time.monotonic() + 10
        # A task of the first generation may have been about to end when it was counted.
        while any(now > then for now, then in zip(held(), before, strict=True)):
            assert time.monotonic() < deadline, (before, held())
            await asyncio.sleep(0.05)

    talking(modern_server)(generate)
    assert not [thread for thread in threading.enumerate() if "gradio" in thread.name.lower()]


def test_one_that_waits_leaves_the_queue_and_the_others_go_on(modern_server):
    async def generate(client):
        running = asyncio.create_task(events_of(client, values_for(client, "slow", image_number=1)))
        before = generations(modern_server)
        while generations(modern_server) == before:
            await asyncio.sleep(0.02)
        waiting = client.generate(
            values_for(client, "cat never", image_number=1), session_hash=new_session_hash()
        )
        queued = []
        async with aclosing(waiting) as stream:
            async for event in stream:
                queued.append(event)
                if sum(entry["values"][2] == "cat never" for entry in tasks(modern_server)):
                    break
        return await running, generations(modern_server)

    events, count = talking(modern_server)(generate)
    assert len(events[-1].paths) == 1
    assert count == generations(modern_server)


def tasks(server):
    return [entry for entry in server.calls() if entry["call"] == "task"]


def test_closing_ends_what_runs(modern_server):
    async def talk():
        client = await Client.connect(modern_server.url)
        task = asyncio.create_task(events_of(client, values_for(client, "slow", image_number=1)))
        before = generations(modern_server)
        while generations(modern_server) == before:
            await asyncio.sleep(0.02)
        await client.aclose()
        with pytest.raises(ConnectionLost, match="closed"):
            await task
        await client.aclose()
        with pytest.raises(ConnectionLost):
            await client.fetch("/x.png")
        assert len(asyncio.all_tasks()) == 1

    run(talk())


@pytest.mark.parametrize("name", ["plain.png", "a b #1 100% ü 漢.png"])
def test_files_of_any_name_come_unchanged(modern_server, name):
    path = modern_server.temp_path / name
    path.write_bytes(bytes(range(256)) * 50)

    async def fetch(client):
        with pytest.raises(EngineError, match="does not give out"):
            await client.fetch("/etc/hostname")
        return await client.fetch(str(path))

    assert talking(modern_server)(fetch) == path.read_bytes()


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_is_lost(start_modern):
    server = start_modern()

    async def talk():
        async with await Client.connect(server.url) as client:
            assert await client.healthy()

            async def kill_in_the_middle():
                values = values_for(client, "slow")
                async with aclosing(client.generate(values, session_hash="s")) as stream:
                    async for event in stream:
                        if isinstance(event, Preview):
                            server.process.kill()

            with pytest.raises(ConnectionLost, match=server.url):
                await kill_in_the_middle()
            assert not await client.healthy()
            with pytest.raises(ConnectionLost):
                await client.stop("s")
            with pytest.raises(ConnectionLost):
                await events_of(client, values_for(client, "cat"))

    run(talk())


# -- a fork that offers a function with a name ---------------------------------------------------


@pytest.mark.slow
@pytest.mark.may_skip
def test_a_fork_with_nothing_but_a_named_function(start_modern, request):
    if "gradio4" in request.node.callspec.id:
        pytest.skip("Gradio 4 has no function without a page")
    server = start_modern("--named-only")

    async def generate(client):
        assert client.schema.version == "2.3.1"
        assert {p.name: p.type for p in client.schema.parameters.values()} == {
            "prompt": "text",
            "overwrite_width": "integer",
            "sharpness": "number",
        }
        request = build_request(client.schema, "a cat", {"width": 40, "seed": -1})
        assert request.seed == request.seed_of(3) == -1
        events = await events_of(client, request.values)
        assert server.last("generate_image")["values"] == ["a cat", 40, 2.0]
        (path,) = events[-1].paths
        assert ImageFinished(path) in events
        with Image.open(io.BytesIO(await client.fetch(path))) as picture:
            assert picture.size == (40, 8)
        with pytest.raises(UnsupportedParameter, match=r"Fooocus 2\.3\.1"):
            build_request(client.schema, "a cat", {"seed": 7})
        with pytest.raises(ParameterError, match="whole number"):
            build_request(client.schema, "a cat", {"width": 40.5})
        with pytest.raises(GenerationError, match="the worker broke"):
            await events_of(client, build_request(client.schema, "fail", {}).values)
        with pytest.raises(UnsupportedServer, match="no way to stop"):
            await client.stop("s")

    talking(server)(generate)


# -- without a server ---------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["ws", "sse_v9", 7])
def test_an_unknown_protocol_is_refused(protocol):
    config = {"version": "4.1.0", "protocol": protocol, "components": [], "dependencies": []}
    with pytest.raises(UnsupportedServer, match=r"Gradio 4\.1\.0 \(protocol"):
        Gradio4Transport("http://127.0.0.1:1", config)


@pytest.mark.parametrize("error", [None, "None"])
def test_a_reason_that_is_not_there_is_none(error):
    """Gradio 4.9 to 4.21 have written it out."""
    answer = {"msg": "process_completed", "success": False, "output": {"error": error}}
    assert parse_message(answer, ()) == Completed((), success=False, error=None)


def test_messages_of_the_transport_are_ours(modern_server):
    async def generate(client):
        values = values_for(client, "cat", image_number=1)
        setter, generator = client.schema.steps
        found = []
        for call in (setter, generator):
            payload = client.schema.payload(call, values)
            async with aclosing(client._transport.call(call.fn_index, payload, "m")) as stream:
                found.append([message async for message in stream])
        return found

    setter, generator = talking(modern_server)(generate)
    assert isinstance(setter[-1], Completed)
    assert sum(isinstance(message, Generating) for message in generator) == 6
    assert all(len(message.data) == 4 for message in generator if isinstance(message, Generating))
