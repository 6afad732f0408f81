from __future__ import annotations

import asyncio
import gc
import io
import warnings
from collections import Counter
from contextlib import aclosing

import psutil
import pytest
from PIL import Image

from fooocus_nb.errors import (
    ConnectionLost,
    GenerationError,
    UnsupportedParameter,
    UnsupportedServer,
)
from fooocus_nb.fooocus.client import Client, new_session_hash
from fooocus_nb.fooocus.events import Finished, ImageFinished, Preview, Progress, Queued, Started
from fooocus_nb.fooocus.requests import build_request
from fooocus_nb.fooocus.schema import Schema
from fooocus_nb.fooocus.schema.calls import Call, Outputs
from fooocus_nb.fooocus.schema.parameters import ParameterTable
from fooocus_nb.fooocus.transport.gradio3 import Gradio3Transport

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module", autouse=True)
def nothing_of_others():
    """Collect what other modules have left, so that it is not warned of in a test of this one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def run(coroutine):
    """Run a test's coroutine, which must not take for ever."""

    async def limited():
        async with asyncio.timeout(100):
            return await coroutine

    return asyncio.run(limited())


def call(fn_index):
    """Return a call that takes nothing but the server's own state."""
    return Call(fn_index=fn_index, inputs=(None,))


def tiny_schema(**changes):
    """Return what is needed of Fooocus 2.5.5 to replay its recordings."""
    parts = {
        "version": "2.5.5",
        "parameters": ParameterTable({}, ""),
        "steps": (call(67), call(68)),
        "stop": call(0),
        "skip": call(1),
        "outputs": Outputs(progress=0, preview=1, running_gallery=2, final_gallery=3),
    }
    return Schema(**{**parts, **changes})


async def events_of(client, values, session=None):
    session = session or new_session_hash()
    async with aclosing(client.generate(values, session_hash=session)) as stream:
        return [event async for event in stream]


def replayed(wire, calls):
    """Return the events that a recorded generation gives."""

    async def talk():
        async with (
            wire.serving(wire.replaying(calls)) as server,
            Client(Gradio3Transport(server.url), tiny_schema()) as client,
        ):
            return await events_of(client, {}), server

    return run(talk())


# -- recordings of the real Fooocus -------------------------------------------------------------


@pytest.mark.recorded
def test_two_images_as_the_real_server_made_them(wire):
    events, server = replayed(wire, wire.recorded("two"))
    *_, last = events
    assert isinstance(last, Finished)
    assert [event.path for event in events if isinstance(event, ImageFinished)] == list(last.paths)
    assert len(last.paths) == 2
    assert [type(event) for event in events[:3]] == [Queued, Started, Progress]
    assert Counter(type(event) for event in events) == {
        Queued: 1,
        Started: 1,
        Progress: 16,
        # The recording's pictures were cut, so all six are the same one here.
        Preview: 1,
        ImageFinished: 2,
        Finished: 1,
    }
    progress = [event for event in events if isinstance(event, Progress)]
    assert Progress(53, "Sampling step 3/3, image 1/2 ...", 3, 3, 1, 2) in progress
    assert [event.percent for event in progress] == sorted(event.percent for event in progress)
    hashes = {entry["session_hash"] for entry in server.received}
    assert len(hashes) == 1


@pytest.mark.recorded
@pytest.mark.parametrize(("case", "images"), [("stop", 0), ("skip", 1), ("jpeg_meta", 1)])
def test_what_is_left_of_a_stopped_generation(wire, case, images):
    events, _server = replayed(wire, wire.recorded(case))
    assert isinstance(events[-1], Finished)
    assert len(events[-1].paths) == images
    assert sum(isinstance(event, ImageFinished) for event in events) == images


@pytest.mark.recorded
def test_a_failed_worker_ends_with_an_empty_gallery(wire):
    events, _server = replayed(wire, wire.recorded("badmodel"))
    assert events[-1] == Finished(())


@pytest.mark.recorded
def test_a_refused_request_is_an_error_before_the_generator_runs(wire):
    calls = wire.recorded("badperf")

    async def talk():
        async with (
            wire.serving(wire.replaying(calls)) as server,
            Client(Gradio3Transport(server.url), tiny_schema()) as client,
        ):
            with pytest.raises(GenerationError, match="did not accept the request"):
                await events_of(client, {})
            return server

    assert run(talk()).joins == 1


@pytest.mark.recorded
def test_four_nulls_are_an_error(wire):
    calls = {67: wire.recorded("two")[67], 68: wire.recorded("badperf")[68]}
    with pytest.raises(GenerationError, match="could not build"):
        replayed(wire, calls)


def test_a_server_without_stop_says_so():
    async def talk():
        transport = Gradio3Transport("http://127.0.0.1:1")
        async with Client(transport, tiny_schema(stop=None, skip=None)) as client:
            with pytest.raises(UnsupportedServer, match="no way to stop"):
                await client.stop("s")
            with pytest.raises(UnsupportedServer, match="no way to skip"):
                await client.skip("s")

    run(talk())


def test_a_newer_protocol_is_told(wire):
    config = '{"version": "9.0", "protocol": "carrier_pigeon"}'

    async def talk():
        async with wire.serving(answers={"/config": (200, config, {})}) as server:
            with pytest.raises(UnsupportedServer, match="carrier_pigeon"):
                await Client.connect(server.url)

    run(talk())


def test_session_hashes_never_repeat():
    assert len({new_session_hash() for _ in range(1000)}) == 1000


# -- a real Gradio 3.41.2 -----------------------------------------------------------------------


def generations(server):
    """Return how many generations have begun."""
    return sum(entry["call"] == "generate" for entry in server.calls())


def values_for(client, prompt, **parameters):
    return build_request(client.schema, prompt, parameters).values


def test_every_value_arrives_at_its_position(gradio3_server):
    async def talk():
        async with await Client.connect(gradio3_server.url) as client:
            values = values_for(
                client,
                "a lighthouse, (dusk:1.2) 漢字 <lora:x:0.8>",
                negative_prompt="ugly",
                styles=["SAI Anime"],
                aspect_ratio="1024x1024",
                image_number=1,
                seed=2**63 - 1,
                loras=[("offset.safetensors", 0.25)],
                ip_3_stop=0.75,
                enhance_2_prompt="hat",
                freeu_s2=1.5,
            )
            events = await events_of(client, values)
            return client.schema, values, events

    schema, values, events = run(talk())
    arrived = gradio3_server.last("task")["values"]
    setter = schema.steps[0]
    assert len(arrived) == len(setter.inputs) == 153
    assert arrived[0] == "task"
    named = dict(zip(setter.inputs[1:], arrived[1:], strict=True))
    assert named == {name: values[name] for name in named}
    assert named["image_seed"] == "9223372036854775807"
    assert named["lora_1_model"] == "offset.safetensors"
    assert isinstance(events[-1], Finished)


def test_a_server_that_is_read_in_part_generates_and_keeps_the_doubtful(start_gradio3):
    server = start_gradio3("--sharpness-label", "Crispness")

    async def talk():
        async with await Client.connect(server.url) as client:
            values = values_for(client, "a lighthouse", seed=7, image_number=1, guidance_scale=5.0)
            with pytest.raises(UnsupportedParameter, match="crispness"):
                values_for(client, "a lighthouse", sharpness=9.0)
            return client.schema, await events_of(client, values)

    schema, events = run(talk())
    assert [item.name for item in schema.parameters.doubtful] == ["crispness"]
    arrived = server.last("task")["values"]
    named = dict(zip(schema.steps[0].inputs[1:], arrived[1:], strict=True))
    assert named["crispness"] == 2.0
    assert named["guidance_scale"] == 5.0
    assert named["image_seed"] == "7"
    assert isinstance(events[-1], Finished)
    assert len(events[-1].paths) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 2**63 - 1])
def test_a_seed_arrives_as_a_number_where_the_page_has_one(start_gradio3, seed):
    server = start_gradio3("--number-seed")

    async def talk():
        async with await Client.connect(server.url) as client:
            values = values_for(client, "a lighthouse", seed=seed, image_number=1)
            return client.schema, await events_of(client, values)

    schema, events = run(talk())
    arrived = dict(zip(schema.steps[0].inputs, server.last("task")["values"], strict=True))
    assert arrived["image_seed"] == seed
    assert type(arrived["image_seed"]) is int
    assert isinstance(events[-1], Finished)
    assert len(events[-1].paths) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [("[" * 60_000, "is no Gradio app"), (" " * (32 * 2**20 + 1), "with more than 32 MB")],
)
def test_a_description_without_bounds_is_refused(wire, body, message):
    async def talk():
        async with wire.serving(answers={"/config": (200, body, {})}) as server:
            await Client.connect(server.url)

    with pytest.raises((ConnectionLost, UnsupportedServer), match=message):
        run(talk())


def test_a_generation_shows_all_that_happens(gradio3_server):
    async def talk():
        async with await Client.connect(gradio3_server.url) as client:
            values = values_for(client, "cat", image_number=2, seed=7)
            events = await events_of(client, values)
            files = [await client.fetch(path) for path in events[-1].paths]
            return events, files

    events, files = run(talk())
    counts = Counter(type(event) for event in events)
    assert counts[ImageFinished] == 2
    assert counts[Preview] == 6
    assert counts[Started] == 1
    assert isinstance(events[-1], Finished)
    assert Progress(83, "Sampling step 2/3, image 2/2 ...", 2, 3, 2, 2) in events
    preview = next(event for event in events if isinstance(event, Preview))
    assert Image.open(io.BytesIO(preview.data)).size == (32, 32)
    assert [Image.open(io.BytesIO(data)).getpixel((0, 0)) for data in files] == [
        (7, 0, 1),
        (8, 0, 2),
    ]


@pytest.mark.parametrize(("verb", "images"), [("stop", 0), ("skip", 1)])
def test_a_running_generation_hears_us(gradio3_server, verb, images):
    async def talk():
        async with await Client.connect(gradio3_server.url) as client:
            values = values_for(client, "slow", image_number=2, seed=1)
            session = new_session_hash()
            events = []
            async with aclosing(client.generate(values, session_hash=session)) as stream:
                async for event in stream:
                    events.append(event)
                    if isinstance(event, Progress) and (event.step, event.image) == (2, 1):
                        await getattr(client, verb)(session)
            return events

    events = run(talk())
    assert len(events[-1].paths) == images
    steps = Counter(event.image for event in events if isinstance(event, Progress) and event.step)
    assert steps[1] < 50
    assert steps[2] == 50 * images


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("fail", "generation failed"), ("refuse", "did not accept the request")],
)
def test_a_failure_on_the_server_is_an_error_and_the_next_one_works(
    gradio3_server, prompt, message
):
    async def talk():
        async with await Client.connect(gradio3_server.url) as client:
            with pytest.raises(GenerationError, match=message):
                await events_of(client, values_for(client, prompt))
            return await events_of(client, values_for(client, "cat", image_number=1))

    assert len(run(talk())[-1].paths) == 1


def test_nothing_made_is_an_empty_gallery(gradio3_server):
    async def talk():
        async with await Client.connect(gradio3_server.url) as client:
            return await events_of(client, values_for(client, "nothing"))

    assert run(talk())[-1] == Finished(())


def test_generations_at_once_queue_and_do_not_mix(gradio3_server):
    async def talk():
        async with await Client.connect(gradio3_server.url) as client:
            tasks = [
                events_of(client, values_for(client, f"cat {seed}", image_number=1, seed=seed))
                for seed in (10, 20, 30)
            ]
            return await asyncio.gather(*tasks)

    for seed, events in zip((10, 20, 30), run(talk()), strict=True):
        (path,) = events[-1].paths
        assert f"cat {seed} {seed} " in path
        assert any(isinstance(event, Queued) for event in events)


def test_a_generation_that_is_left_frees_the_queue(gradio3_server):
    async def talk():
        async with await Client.connect(gradio3_server.url) as client:
            values = values_for(client, "slow", image_number=1)
            session = new_session_hash()
            before = generations(gradio3_server)
            task = asyncio.create_task(events_of(client, values, session))
            while generations(gradio3_server) == before:
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await client.stop(session)
            return await events_of(client, values_for(client, "cat", image_number=1))

    assert len(run(talk())[-1].paths) == 1


def test_many_generations_leak_nothing(gradio3_server):
    process = psutil.Process()

    def held():
        descriptors = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
        return descriptors, process.num_threads(), len(asyncio.all_tasks())

    async def talk():
        async with await Client.connect(gradio3_server.url) as client:
            values = values_for(client, "cat", image_number=1)
            await events_of(client, values)
            before = held()
            for _ in range(25):
                await events_of(client, values)
            # What was cancelled last ends in the next rounds of the loop; a leak stays.
            for _ in range(500):
                if not_more(held(), before):
                    break
                await asyncio.sleep(0.01)
            return before, held()

    def not_more(after, before):
        # On a busy machine something of the first one may have been about to end.
        return all(now <= then for now, then in zip(after, before, strict=True))

    before, after = run(talk())
    assert not_more(after, before), (before, after)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "count"),
    [
        (("--disable-metadata",), 151),
        (("--loras", "2", "--image-prompts", "1", "--enhance-tabs", "0"), 153 - 9 - 12 - 48),
    ],
)
def test_other_shapes_of_the_same_app(start_gradio3, flags, count):
    server = start_gradio3(*flags)

    async def talk():
        async with await Client.connect(server.url) as client:
            assert await client.healthy()
            values = values_for(client, "cat", image_number=1, sharpness=9.5)
            await events_of(client, values)
            return client.schema, values

    schema, values = run(talk())
    named = dict(zip(schema.steps[0].inputs, server.last("task")["values"], strict=True))
    assert len(named) == count
    assert {name: named[name] for name in values} == dict(values)


def test_a_server_that_dies_in_the_middle_is_lost(start_gradio3):
    server = start_gradio3()

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
        with pytest.raises(ConnectionLost, match=server.url):
            await Client.connect(server.url)

    run(talk())
