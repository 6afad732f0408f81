"""The demo engine's messages are those that a real Fooocus 2.5.5 sent."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from websockets.sync.client import connect

#: Long enough for a loaded machine to send each step: of previews in a row, the last one counts.
STEP_SECONDS = 0.2
#: What the recordings were made with, by the labels that they give it.
KEYS = {
    "positive_prompt": "prompt",
    "Image_Number": "image_number",
    "Output_Format": "output_format",
    "Save_Metadata_to_Images": "save_metadata",
    "Forced_Overwrite_of_Sampling_Step": "overwrite_step",
    "Forced_Overwrite_of_Generating_Width": "overwrite_width",
    "Forced_Overwrite_of_Generating_Height": "overwrite_height",
    "Seed": "seed",
    "Base_Model_(SDXL_only)": "base_model",
    "Performance": "performance",
}


def shape(value):
    """Return what kind of value an output carries."""
    if isinstance(value, list):
        return [sorted(entry) for entry in value]
    if isinstance(value, str):
        return "picture" if value.startswith("data:image/png;base64,") else "bar"
    return value


def outline(message):
    """Return a message without its times, texts and paths."""
    told = {key: value for key, value in message.items() if key not in ("output", "rank_eta")}
    for key in message:
        if key.startswith(("avg_", "queue_eta")):
            told[key] = "number"
    output = message.get("output")
    if output is None or "data" not in output:
        return {**told, "output": output}
    data = [
        {k: shape(v) if k == "value" else v for k, v in item.items()} if item else item
        for item in output["data"]
    ]
    return {**told, "output": sorted(output), "generating": output["is_generating"], "data": data}


def outlines(messages):
    """Return the outlines in the order in which each came first.

    How often bars and previews are told, and which of them comes last, is a matter of time.
    """
    found = []
    for index, message in messages:
        entry = (index, outline(message))
        if entry not in found:
            found.append(entry)
    return found


def case_of(lines):
    return {KEYS[label]: value for label, value in lines[0]["over"].items()}


def replay(wire, recorded, name, **more):
    lines = recorded(name)
    real = [(line["fn"], line["msg"]) for line in lines if line["kind"] == "recv"]
    client = wire(step_seconds=STEP_SECONDS)
    seen = []

    def on_message(message):
        for trigger, act in more.items():
            if act not in seen and trigger.replace("_", " ") in json.dumps(message):
                seen.append(act)
                client.post(act, [None], "session")

    client.on_message = on_message
    client.generate("session", **case_of(lines))
    return outlines(real), outlines(client.messages), client


@pytest.mark.recorded
@pytest.mark.parametrize("name", ["two", "jpeg_meta", "badmodel", "badperf"])
def test_messages_are_the_recorded_ones(wire, recorded, name):
    real, ours, client = replay(wire, recorded, name)
    assert ours == real
    assert "Traceback (most recent call last):" in client.server.log() or "bad" not in name


@pytest.mark.recorded
def test_a_stop_is_the_recorded_one(wire, recorded):
    real, ours, client = replay(wire, recorded, "stop", Preparing_task="stop")
    assert ours == real
    assert "User stopped" in client.server.log()


@pytest.mark.recorded
def test_a_skip_is_the_recorded_one(wire, recorded):
    real, ours, client = replay(wire, recorded, "skip", Sampling_step_1="skip")
    assert ours == real
    assert "User skipped" in client.server.log()


def test_progress_rises_to_the_end(wire):
    client = wire(step_seconds=STEP_SECONDS)
    client.generate(image_number=2)
    texts = client.texts()
    assert texts[0] == "Waiting for task to start ..."
    steps = [
        f"Sampling step {step}/3, image {image}/2 ..." for image in (1, 2) for step in (1, 2, 3)
    ]
    shown = [text for text in texts if text.startswith("Sampling")]
    assert shown == [step for step in steps if step in shown]
    # Of previews in a row a slow machine sends only the last: that one is never left out.
    saved = [text for text in texts if text.startswith("Saving")]
    assert saved == [f"Saving image {image}/2 to system ..." for image in (1, 2)]
    bars = [output[0]["value"] for output in client.outputs() if output[0].get("value")]
    percents = [int(bar.split('value="')[1].split('"')[0]) for bar in bars]
    assert percents == sorted(percents)
    assert percents[-1] == 100


def test_too_few_inputs_are_refused_without_a_word(wire):
    client = wire()
    *_, last = client.join("get_task", [None] * 20, "session")
    assert last == {"msg": "process_completed", "output": {"error": None}, "success": False}
    assert "takes 153 values and got 20" in client.server.log()


def test_a_task_runs_once(wire):
    client = wire()
    assert client.generate("session")
    *_, last = client.join("generate", [None], "session")
    assert last["output"]["data"] == [None] * 4


def test_the_queue_runs_one_event_at_a_time(wire, in_background, wait_for):
    client = wire(step_seconds=0.1)
    first = in_background(lambda: client.generate("a", image_number=2))
    wait_for(lambda: "Sampling" in json.dumps(client.messages))
    other = type(client)(client.url, client.page)
    other.generate("b")
    first.join(30)
    ranks = [m["rank"] for _, m in other.messages if m["msg"] == "estimation"]
    assert ranks == [1, 0, 0]  # the setter waited, and then nobody was before it
    assert client.messages[-1][1]["msg"] == "process_completed"


def test_who_leaves_gives_way(wire, wait_for):
    client = wire(step_seconds=0.1)
    session = {"fn_index": client.page.index("generate"), "session_hash": "gone"}
    for _ in client.join("get_task", client.task(image_number=3), "gone"):
        pass
    with connect(f"ws{client.url[4:]}/queue/join") as socket:
        for message in map(json.loads, socket):
            if message["msg"] == "send_hash":
                socket.send(json.dumps(session))
            elif message["msg"] == "send_data":
                socket.send(json.dumps({**session, "data": [None]}))
            elif message["msg"] == "process_generating":
                break
    assert client.generate("b")  # the worker finishes the other task first, as Fooocus's does
    assert client.server.log().count("Image generated") == 4


@pytest.mark.parametrize("hello", ["{", "[]", '{"fn_index": 9999}', '{"fn_index": "x"}'])
def test_nonsense_ends_only_its_own_connection(wire, hello):
    client = wire()
    with connect(f"ws{client.url[4:]}/queue/join") as socket:
        socket.recv(10)
        socket.send(hello)
    assert client.generate()


def test_direct_calls(wire):
    client = wire()
    answer = client.post("stop", [None])
    assert set(answer) == {"data", "is_generating", "duration", "average_duration"}
    assert answer["data"] == [None]
    with pytest.raises(urllib.error.HTTPError) as caught:
        client.post("get_task", client.task())
    caught.value.close()
    assert caught.value.code == 401
    with pytest.raises(urllib.error.HTTPError) as caught:
        client.post("preset", ["no such preset", False, ""])
    assert caught.value.code == 500
    assert json.loads(caught.value.read()) == {"error": None}
    caught.value.close()


def test_a_preset_fills_in_the_page(wire):
    client = wire()
    function = client.page.functions[client.page.index("preset")]
    data = client.post("preset", ["lightning", False, ""])["data"]
    values = dict(zip(function.outputs, data, strict=True))
    assert values["performance"] == "Lightning"
    assert values["guidance_scale"] == client.page.default("guidance_scale")
    assert values["prompt"] == {"__type__": "update"}


def test_pages_and_files(wire):
    client = wire()
    assert json.loads(client.get("/config")) == client.page.config
    assert b"demo engine" in client.get("/")
    path = client.generate()[0]
    assert client.get(f"/file={path}").startswith(b"\x89PNG")
    outside = [__file__, "/etc/passwd", f"{client.server.temp_path}/../engine.log", "", "\0"]
    for name in outside:
        with pytest.raises(urllib.error.HTTPError) as caught:
            client.get(f"/file={urllib.request.quote(name)}")
        caught.value.close()
        assert caught.value.code == 403


def test_uploads(wire):
    client = wire()
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="../a b.png"\r\n'
        b"Content-Type: image/png\r\n\r\npixels\r\n--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{client.url}/upload", body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        (path,) = json.load(answer)
    assert path.startswith(str(client.server.temp_path))
    assert path.endswith("/a b.png")
    assert client.get(f"/file={urllib.request.quote(path)}") == b"pixels"
