"""The control panel from Python: its form, its values, and what it generates."""

from __future__ import annotations

import io
import threading
import time
from typing import TYPE_CHECKING, Any

import PIL.Image
import pytest

import fooocus_nb
from fooocus_nb.demo.page import Page
from fooocus_nb.errors import ParameterError, UnsupportedParameter
from fooocus_nb.fooocus.schema import Schema
from fooocus_nb.magics.parsing import parse_cell_line
from fooocus_nb.widgets.panel_form import form_of
from fooocus_nb.widgets.panel_values import PanelValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fooocus_nb import Engine
    from fooocus_nb.widgets.panel import Panel

SCHEMA = Schema.from_config(Page().config)
HOSTILE = "<script>alert(1)</script> javascript:alert(2)"


def png(size: tuple[int, int] = (96, 64)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, (40, 90, 160)).save(buffer, "PNG")
    return buffer.getvalue()


# -- the form --------------------------------------------------------------------------------


def test_every_parameter_is_in_the_form_once() -> None:
    form = form_of(SCHEMA)
    names = [
        name
        for group in form["groups"]
        for section in group["sections"]
        for name in section["names"]
    ]
    assert sorted(names) == sorted(SCHEMA.parameters)
    assert len(SCHEMA.parameters) == 152
    assert set(form["fields"]) == set(names)
    assert all(field["label"] for field in form["fields"].values())


def test_numbered_parameters_have_sections_of_their_own() -> None:
    groups = {group["key"]: group for group in form_of(SCHEMA)["groups"]}
    titles = [section["title"] for section in groups["loras"]["sections"]]
    assert titles == [f"LoRA {number}" for number in range(1, 6)]
    assert groups["prompt"]["title"] == ""  # always open


def test_fields_say_what_is_allowed() -> None:
    fields = form_of(SCHEMA)["fields"]
    assert fields["guidance_scale"]["minimum"] == 1
    assert fields["guidance_scale"]["hint"] == "1 to 30"
    assert fields["image_seed"] == fields["image_seed"] | {"kind": "seed", "default": ""}
    sizes = dict(fields["aspect_ratios_selection"]["choices"])
    assert sizes[fields["aspect_ratios_selection"]["default"]] == "1152x896 | 9:7"
    assert [tab for tab, _ in fields["current_tab"]["choices"]] == [
        "uov",
        "ip",
        "inpaint",
        "enhance",
    ]


# -- the values ------------------------------------------------------------------------------


@pytest.fixture
def values() -> PanelValues:
    return PanelValues(SCHEMA, lambda names: None)


def test_values_take_short_names_and_are_checked(values: PanelValues) -> None:
    values["steps"] = 30
    values.update(aspect_ratio="1024x1024", seed=0, performance="quality")
    assert dict(values) == {
        "overwrite_step": 30,
        "aspect_ratios_selection": "1024x1024 | 1:1",
        "image_seed": 0,
        "performance_selection": "Quality",
    }
    assert "steps" in values
    assert values["guidance_scale"] == 4.0
    assert "guidance_scale" not in values
    with pytest.raises(ParameterError, match="Did you mean 'Quality'"):
        values["performance"] = "Qualty"
    with pytest.raises(ParameterError, match=r"There is no parameter 'stepz'"):
        values["stepz"] = 1
    assert values["performance"] == "Quality"


def test_several_values_are_set_together_or_not_at_all(values: PanelValues) -> None:
    with pytest.raises(ParameterError, match="image_number"):
        values.update(steps=30, image_number=99)
    assert not values


def test_what_equals_the_default_is_not_set(values: PanelValues) -> None:
    values.update(steps=30, image_number=3)
    values.update(steps=-1, image_number=None)
    assert not values
    values["steps"] = 30
    del values["steps"]
    assert not values


def test_loras_fill_their_slots(values: PanelValues) -> None:
    values.update(loras=[("sd_xl_offset_example-lora_1.0.safetensors", 0.5)])
    assert values["lora_1_weight"] == 0.5
    with pytest.raises(UnsupportedParameter, match="has no parameter 'lora_9_model'"):
        values["lora_9_model"] = "x"


def test_pictures_are_read_when_they_are_set(values: PanelValues, tmp_path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(png())
    values["uov_input_image"] = path
    assert values["uov_input_image"] == path
    with pytest.raises(ParameterError, match="not an image"):
        values["uov_input_image"] = b"nonsense"


# -- the panel -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("panel")
    env = {"FOOOCUS_DEMO_STEP_SECONDS": "0"}
    with fooocus_nb.start(demo=True, output_dir=folder, env=env, timeout=60) as started:
        yield started


@pytest.fixture
def panel(engine: Engine) -> Iterator[Panel]:
    made = engine.panel(prompt="a harbour", image_number=1, steps=3)
    assert made.widget  # as if it were shown
    yield made
    made._form._worker.shutdown()


def send(panel: Panel, thread: bool = False, **content: Any) -> None:
    """Send what a browser would, and wait until it has been dealt with."""
    form = panel._form
    done = threading.Event()
    told: list[dict[str, Any]] = []

    def took(message: dict[str, Any], buffers: object = None) -> None:
        told.append(message)
        if message.get("kind") == "took":
            done.set()

    form.send = took
    buffers = content.pop("buffers", [])
    deliver = threading.Thread(target=form._handle_custom_msg, args=({"id": 1, **content}, buffers))
    deliver.start() if thread else deliver.run()
    assert done.wait(20), "the panel did not answer"
    panel.told = told


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not come true in a minute"
        time.sleep(0.02)


@pytest.mark.parametrize("thread", [False, True])
def test_the_form_and_python_see_the_same_values(panel: Panel, thread: bool) -> None:
    send(panel, thread, kind="set", changes={"guidance_scale": 5.5, "image_seed": str(2**63 - 1)})
    assert panel.values["guidance_scale"] == 5.5
    assert panel.values["seed"] == 2**63 - 1
    assert panel._form.values["image_seed"] == str(2**63 - 1)
    panel.values = {"prompt": HOSTILE, "sharpness": 3}
    assert panel._form.values == {"prompt": HOSTILE, "sharpness": 3.0}
    send(panel, thread, kind="set", changes={"sharpness": None})
    assert dict(panel.values) == {"prompt": HOSTILE}
    send(panel, thread, kind="reset")
    assert not panel.values


def test_a_wrong_value_is_told_at_its_field_and_sends_nothing(panel: Panel) -> None:
    send(panel, kind="set", changes={"image_number": 99, "guidance_scale": 6})
    assert "from 1 to 32" in panel._form.errors["image_number"]
    assert panel.values["guidance_scale"] == 6
    send(panel, kind="generate")
    assert "1 field needs another value" in panel._form.state["note"]
    assert not panel.jobs
    panel.values["image_number"] = 2
    assert not panel._form.errors


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "set", "changes": {"nonsense": 1, "uov_input_image": "/etc/passwd"}},
        {"kind": "set", "changes": [1]},
        {"kind": "image", "slot": "nonsense", "buffers": [b"x"]},
        {"kind": "image", "slot": "uov_input_image"},
        {"kind": "remove", "slot": "nonsense"},
        {"kind": {}},
        {},
    ],
)
def test_whatever_a_browser_says_changes_nothing_else(panel: Panel, content: Any) -> None:
    before = dict(panel.values)
    send(panel, **content)
    assert dict(panel.values) == before


def test_what_fails_behind_a_button_is_told_in_the_form(panel: Panel, monkeypatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError("No space left on device")

    monkeypatch.setattr(panel, "generate", full)
    send(panel, kind="generate")
    assert "No space left on device" in panel._form.state["note"]


def test_pictures_come_by_upload_with_what_makes_the_engine_look_at_them(panel: Panel) -> None:
    send(panel, kind="image", slot="inpaint_input_image.mask", buffers=[png()])
    assert "image first" in panel._form.errors["inpaint_input_image"]
    send(panel, kind="image", slot="inpaint_input_image", buffers=[png()])
    send(panel, kind="image", slot="inpaint_input_image.mask", buffers=[png()])
    assert set(panel._form.images) == {"inpaint_input_image", "inpaint_input_image.mask"}
    assert panel.values["inpaint_input_image"] == {"image": png(), "mask": png()}
    assert panel.values["current_tab"] == "inpaint"
    assert panel.values["input_image_checkbox"] is True
    send(panel, kind="image", slot="inpaint_input_image.mask", buffers=[png((5, 5))])
    assert "another size" in panel._form.errors["inpaint_input_image"]
    send(panel, kind="remove", slot="inpaint_input_image.mask")
    assert set(panel._form.images) == {"inpaint_input_image"}
    send(panel, kind="remove", slot="inpaint_input_image")
    assert not panel._form.images


def test_a_mask_is_painted_over_a_picture_of_the_form(panel: Panel) -> None:
    name = "inpaint_input_image"
    send(panel, kind="paint", slot=f"{name}.mask")
    assert "image first" in panel._form.errors[name]
    send(panel, kind="image", slot=name, buffers=[png()])
    send(panel, kind="paint", slot=f"{name}.mask")
    editor = panel.values[name]["mask"]
    assert panel._view.children[1] is editor
    assert panel._form.state["painting"] == name
    empty = panel._form.images[f"{name}.mask"]
    editor.fill()
    wait_until(lambda: panel._form.images[f"{name}.mask"] != empty)
    send(panel, kind="paint", slot=f"{name}.mask")
    assert editor not in panel._view.children
    assert panel.values[name]["mask"] is editor
    send(panel, kind="paint", slot=f"{name}.mask")
    assert panel._view.children[1] is editor
    send(panel, kind="image", slot=name, buffers=[png((5, 5))])
    assert editor not in panel._view.children
    assert panel.values[name] == {"image": png((5, 5))}
    assert editor.comm is None  # nobody can paint in it any more, and it holds the image
    panel.values[name] = {"image": png(), "mask": editor}
    send(panel, kind="paint", slot=f"{name}.mask")
    again = panel.values[name]["mask"]
    assert panel._view.children[1] is again
    assert again is not editor
    assert again.mask.tobytes() == editor.mask.tobytes()
    other = fooocus_nb.MaskEditor(png())
    panel.values[name] = {"image": png(), "mask": other}
    assert f"{name}.mask" in panel._form.images
    assert again.comm is None
    assert other.comm is not None  # it is not the panel's to close
    other.close()


def test_a_preset_has_its_defaults_in_the_form_wherever_it_was_loaded(panel: Panel) -> None:
    assert panel._form.form["preset"] == "initial"
    assert "lightning" in panel._form.form["presets"]
    send(panel, kind="preset", name="lightning")
    wait_until(lambda: panel._form.form["preset"] == "lightning" and not panel._form.state["doing"])
    assert panel._form.form["fields"]["performance_selection"]["default"] == "Lightning"
    assert panel.values["performance"] == "Lightning"
    assert panel.values["prompt"] == "a harbour"
    panel.engine.preset("initial")
    send(panel, kind="set", changes={"sharpness": 3})
    assert panel._form.form["preset"] == "initial"
    send(panel, kind="preset", name="<b>none")
    wait_until(lambda: "none" in panel._form.state["note"])
    assert not panel._form.state["doing"]


def test_closing_the_standing_monitor_leaves_the_one_of_the_panel(panel: Panel) -> None:
    monitor = panel.engine.monitor()
    monitor.close()
    assert monitor.widget is panel._view.children[-2]
    assert monitor.widget.comm is not None


def test_generate_queues_and_keeps_the_results(panel: Panel, engine: Engine) -> None:
    for _ in range(3):
        send(panel, kind="generate")
    wait_until(lambda: len(panel.gallery) == 3)
    seeds = [result[0].seed for result in panel.results]
    assert len(set(seeds)) == 3
    assert panel._form.state["seed"] == str(seeds[-1])
    assert not panel.jobs
    assert engine.state == "ready"


def test_the_cell_makes_the_same(panel: Panel) -> None:
    panel.values.update(seed=7, styles=["Fooocus V2"], negative_prompt="people")
    send(panel, kind="cell")
    copied = next(message for message in panel.told if message["kind"] == "cell")
    assert copied["id"] == 1  # that of the page that asked
    text = copied["text"]
    line, _, body = text.partition("\n")
    options = parse_cell_line(line.removeprefix("%%fooocus"), body)
    (asked,) = options.runs(SCHEMA.parameters)
    again = PanelValues(SCHEMA, lambda names: None)
    again.update({"prompt": options.prompt, **asked})
    assert dict(again) == dict(panel.values)
    del panel.values["seed"]
    assert "--seed" not in panel.cell()


def test_without_a_frontend_it_is_a_table(panel: Panel) -> None:
    panel.values["prompt"] = HOSTILE
    bundle, _ = panel._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert "<script>" not in bundle["text/html"]
    assert "&lt;script&gt;" in bundle["text/html"]


def test_an_engine_that_stopped_is_told_in_the_form(start_demo_alone, panel: Panel) -> None:
    other = start_demo_alone()
    stopped = other.panel(prompt="x")
    assert stopped.widget
    assert stopped.cell() == "%%fooocus\nx"
    assert panel.cell().startswith(f"%%fooocus --name {panel.engine.name} ")
    other.stop()
    send(stopped, kind="generate")
    assert "stopped" in stopped._form.state["note"]
    assert "restart" in stopped._form.state["detail"]
    with pytest.raises(fooocus_nb.EngineError, match="stopped"):
        other.panel()


@pytest.fixture
def start_demo_alone(tmp_path) -> Iterator[Any]:
    engines = []

    def start() -> Engine:
        engines.append(fooocus_nb.start(demo=True, output_dir=tmp_path, timeout=60))
        return engines[-1]

    yield start
    for engine in engines:
        engine.stop()
