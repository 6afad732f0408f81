"""Names for the inputs of servers: recorded ones, synthetic ones, translated and mangled ones."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fooocus_nb.errors import ParameterError, UnsupportedParameter, UnsupportedServer
from fooocus_nb.fooocus.schema import Schema
from fooocus_nb.fooocus.schema.naming import is_known_parameter

from ...lanes import examples, slow_but

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "fooocus" / "config"
TRUTHS = sorted(RECORDED.glob("*.inputs.json")) if RECORDED.is_dir() else []
# A failure is shown as it was found: to shrink it would take minutes.
MANGLED = settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)

# One input a line, or one group of inputs with its members between |.
# name; type; label; then, as the page has them: #elem_id, minimum..maximum/step, =value, [choices]
PAGE = """
generate_image_grid; checkbox; Generate Image Grid for Each Batch
prompt; textbox; ; #positive_prompt
negative_prompt; textbox; Negative Prompt; #negative_prompt
style_selections; checkboxgroup; Selected Styles; [Fooocus V2, Fooocus Sharp, SAI Anime]
performance_selection; radio; Performance; [Quality, Speed, Lightning]; =Speed
aspect_ratios_selection; radio; Aspect Ratios; [1024×1024 <i>∣ 1:1</i>, 1152×896 <i>∣ 9:7</i>]
image_number; slider; Image Number; 1..32/1; =2
output_format; radio; Output Format; [png, jpeg, webp]; =png
image_seed; textbox; Seed; =0
read_wildcards_in_order; checkbox; Read wildcards in order
sharpness; slider; Image Sharpness; 0..30/0.001; =2
guidance_scale; slider; Guidance Scale; 1..30/0.01; =4
base_model; dropdown; Base Model (SDXL only); [a.safetensors, b.safetensors]
refiner_model; dropdown; Refiner (SDXL or SD 1.5); [None, b.safetensors]; =None
refiner_switch; slider; Refiner Switch At; 0.1..1/0.0001; =0.5
*lora enabled; checkbox; Enable;
  | model; dropdown; LoRA {n}; [None, x.safetensors]; =None
  | weight; slider; Weight; -2..2/0.01; =1
input_image_checkbox; checkbox; Input Image
current_tab; textbox; ; =uov
uov_method; radio; Upscale or Variation:; [Disabled, Vary (Subtle), Upscale (2x)]; =Disabled
uov_input_image; image; Image
outpaint_selections; checkboxgroup; Outpaint Direction; [Left, Right, Top, Bottom]
inpaint_input_image; image; Image; #inpaint_canvas
inpaint_additional_prompt; textbox; Inpaint Additional Prompt; #inpaint_additional_prompt
inpaint_mask_image; image; Mask Upload; #inpaint_mask_canvas
disable_preview; checkbox; Disable Preview
disable_intermediate_results; checkbox; Disable Intermediate Results
disable_seed_increment; checkbox; Disable seed increment
black_out_nsfw; checkbox; Black Out NSFW
adm_scaler_positive; slider; Positive ADM Guidance Scaler; 0.1..3/0.001; =1.5
adm_scaler_negative; slider; Negative ADM Guidance Scaler; 0.1..3/0.001; =0.8
adm_scaler_end; slider; ADM Guidance End At Step; 0..1/0.001; =0.3
adaptive_cfg; slider; CFG Mimicking from TSNR; 1..30/0.01; =7
clip_skip; slider; CLIP Skip; 1..12/1; =2
sampler_name; dropdown; Sampler; [euler, dpmpp_2m]; =euler
scheduler_name; dropdown; Scheduler; [normal, karras]; =karras
vae_name; dropdown; VAE; [Default (model)]; =Default (model)
overwrite_step; slider; Forced Overwrite of Sampling Step; -1..200/1; =-1
overwrite_switch; slider; Forced Overwrite of Refiner Switch Step; -1..200/1; =-1
overwrite_width; slider; Forced Overwrite of Generating Width; -1..2048/1; =-1
overwrite_height; slider; Forced Overwrite of Generating Height; -1..2048/1; =-1
overwrite_vary_strength; slider; Forced Overwrite of Denoising Strength of "Vary"; -1..1/0.001
overwrite_upscale_strength; slider; Forced Overwrite of Denoising Strength of "Upscale"; -1..1/0.001
mixing_image_prompt_and_vary_upscale; checkbox; Mixing Image Prompt and Vary/Upscale
mixing_image_prompt_and_inpaint; checkbox; Mixing Image Prompt and Inpaint
debugging_cn_preprocessor; checkbox; Debug Preprocessors
skipping_cn_preprocessor; checkbox; Skip Preprocessors
canny_low_threshold; slider; Canny Low Threshold; 1..255/1; =64
canny_high_threshold; slider; Canny High Threshold; 1..255/1; =128
refiner_swap_method; dropdown; Refiner swap method; [joint, separate, vae]; =joint
controlnet_softness; slider; Softness of ControlNet; 0..1/0.001; =0.25
freeu_enabled; checkbox; Enabled
freeu_b1; slider; B1; 0..2/0.01; =1.01
freeu_b2; slider; B2; 0..2/0.01; =1.02
freeu_s1; slider; S1; 0..4/0.01; =0.99
freeu_s2; slider; S2; 0..4/0.01; =0.95
debugging_inpaint_preprocessor; checkbox; Debug Inpaint Preprocessing
inpaint_disable_initial_latent; checkbox; Disable initial latent in inpaint
inpaint_engine; dropdown; Inpaint Engine; [None, v1, v2.5, v2.6]; =v2.6
inpaint_strength; slider; Inpaint Denoising Strength; 0..1/0.001; =1
inpaint_respective_field; slider; Inpaint Respective Field; 0..1/0.001; =0.618
inpaint_advanced_masking_checkbox; checkbox; Enable Advanced Masking Features
invert_mask_checkbox; checkbox; Invert Mask When Generating
inpaint_erode_or_dilate; slider; Mask Erode or Dilate; -64..64/1; =0
save_final_enhanced_image_only; checkbox; Save only final enhanced image
save_metadata_to_images; checkbox; Save Metadata to Images
metadata_scheme; radio; Metadata Scheme; [fooocus, a1111]; =fooocus
*ip image; image; Image
  | stop; slider; Stop At; 0..1/0.001; =0.5
  | weight; slider; Weight; 0..2/0.001; =0.6
  | type; radio; Type; [ImagePrompt, PyraCanny, CPDS, FaceSwap]; =ImagePrompt
debugging_dino; checkbox; Debug GroundingDINO
dino_erode_or_dilate; slider; GroundingDINO Box Erode or Dilate; -64..64/1; =0
debugging_enhance_masks_checkbox; checkbox; Debug Enhance Masks
enhance_input_image; image; Use with Enhance, skips image generation
enhance_checkbox; checkbox; Enhance
enhance_uov_method; radio; Upscale or Variation:; [Disabled, Vary (Subtle), Upscale (2x)]; =Disabled
enhance_uov_processing_order; radio; Order of Processing; [After Last Enhancement]
enhance_uov_prompt_type; radio; Prompt; [Original Prompts, Last Filled Enhancement Prompts]
*enhance enabled; checkbox; Enable
  | mask_dino_prompt_text; textbox; Detection prompt
  | prompt; textbox; Enhancement positive prompt; #enhance_prompt
  | negative_prompt; textbox; Enhancement negative prompt; #enhance_negative_prompt
  | mask_model; dropdown; Mask generation model; [u2net, sam]; =sam
  | mask_cloth_category; dropdown; Cloth category; [full, upper, lower]; =full
  | mask_sam_model; dropdown; SAM model; [vit_b, vit_l]; =vit_b
  | mask_text_threshold; slider; Text Threshold; 0..1/0.05
  | mask_box_threshold; slider; Box Threshold; 0..1/0.05
  | mask_sam_max_detections; slider; Maximum number of detections; 0..10/1
  | inpaint_disable_initial_latent; checkbox; Disable initial latent in inpaint
  | inpaint_engine; dropdown; Inpaint Engine; [None, v1, v2.5, v2.6]
  | inpaint_strength; slider; Inpaint Denoising Strength; 0..1/0.001
  | inpaint_respective_field; slider; Inpaint Respective Field; 0..1/0.001
  | inpaint_erode_or_dilate; slider; Mask Erode or Dilate; -64..64/1
  | mask_invert; checkbox; Invert Mask
"""
SINCE = {
    "2.4": "clip_skip vae_name black_out_nsfw",
    "2.5": "save_final_enhanced_image_only debugging_dino "
    "dino_erode_or_dilate debugging_enhance_masks_checkbox enhance_input_image enhance_checkbox "
    "enhance_uov_method enhance_uov_processing_order enhance_uov_prompt_type",
}
BEFORE_2_5 = {
    "inpaint_advanced_masking_checkbox": ("inpaint_mask_upload_checkbox", "Enable Mask Upload"),
    "invert_mask_checkbox": ("invert_mask_checkbox", "Invert Mask"),
}


def parse(line: str) -> tuple[str, dict[str, Any]]:
    name, kind, label, *rest = (part.strip() for part in line.split(";"))
    props: dict[str, Any] = {"label": label} if label else {}
    for part in rest:
        if part.startswith("#"):
            props["elem_id"] = part[1:]
        elif part.startswith("="):
            props["value"] = part[1:] if kind != "slider" else float(part[1:])
        elif part.startswith("["):
            props["choices"] = [choice.strip() for choice in part[1:-1].split(",")]
        elif found := re.fullmatch(r"(.+)\.\.(.+)/(.+)", part):
            low, high, step = map(float, found.groups())
            props.update(minimum=low, maximum=high, step=step)
    if kind == "checkbox":
        props["value"] = False
    return name, {"type": kind, "props": props}


def rows(loras: int, prompts: int, tabs: int) -> Iterable[tuple[str, dict[str, Any]]]:
    counts = {"lora": loras, "ip": prompts, "enhance": tabs}
    for line in PAGE.strip().replace("\n  |", " |").splitlines():
        if not line.startswith("*"):
            yield parse(line)
            continue
        group, members = line[1:].split(" ", 1)
        for number in range(1, counts[group] + 1):
            for member in members.replace("{n}", str(number)).split("|"):
                name, item = parse(member.strip())
                yield f"{group}_{number}_{name}", item


def make_config(
    version: str = "2.5.5",
    *,
    loras: int = 5,
    prompts: int = 4,
    tabs: int = 3,
    without: Iterable[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Return a page as a server would describe it, and the true names of the setter's inputs."""
    gone = set(without)
    renamed: dict[str, tuple[str, str]] = {}
    if version < "2.5":
        tabs, renamed = 0, BEFORE_2_5
    for since, names in SINCE.items():
        gone |= set(names.split()) if version < since else set()
    found = []
    for name, item in rows(loras, prompts, tabs):
        if name in renamed:
            name, item["props"]["label"] = renamed[name]
        if name not in gone:
            found.append((name, item))
    components: list[dict[str, Any]] = []

    def add(kind: str, **props: Any) -> int:
        components.append({"id": len(components) + 1, "type": kind, "props": props})
        return len(components)

    state = add("state")
    outputs = [add("html"), add("image"), add("gallery"), add("gallery", elem_id="final_gallery")]
    generate = add("button", value="Generate", elem_id="generate_button")
    stop = add("button", value="Stop", elem_id="stop_button")
    skip = add("button", value="Skip", elem_id="skip_button")
    random_seed = add("checkbox", label="Random", value=True)
    ids = {name: add(item["type"], **item["props"]) for name, item in found}
    dependencies = [
        _dependency(stop, "click", [state], [state], queue=False),
        _dependency(skip, "click", [state], [state], queue=False),
        _dependency(generate, "click", [], [stop, skip, generate]),
        _dependency(
            generate, "then", [random_seed, ids["image_seed"]], [ids["image_seed"]], after=2
        ),
        _dependency(generate, "then", [state, *ids.values()], [state], after=3),
        _dependency(generate, "then", [state], outputs, after=4, generator=True),
        _dependency(generate, "then", [], [generate], after=5),
    ]
    config = {
        "version": "3.41.2",
        "title": f"Fooocus {version}",
        "components": components,
        "dependencies": dependencies,
    }
    return config, ["currentTask", *ids]


def _dependency(
    target: int,
    trigger: str,
    inputs: list[int],
    outputs: list[int],
    *,
    after: int | None = None,
    generator: bool = False,
    queue: bool | None = None,
) -> dict[str, Any]:
    return {
        "targets": [target],
        "trigger": trigger,
        "inputs": inputs,
        "outputs": outputs,
        "queue": queue,
        "backend_fn": True,
        "trigger_after": after,
        "types": {"continuous": False, "generator": generator},
    }


def translate(config: dict[str, Any]) -> dict[str, Any]:
    """Return the page with every label in another language, its numbers kept."""
    translated = copy.deepcopy(config)
    table = str.maketrans("abcdefghijklmnopqrstuvwxyz", "опрстуфхцчшщъыьэюяабвгдежз")
    for item in translated["components"]:
        if label := item["props"].get("label"):
            item["props"]["label"] = label.lower().translate(table)
        if item["type"] == "button":
            item["props"]["value"] = "按钮"
    return translated


def named(config: dict[str, Any]) -> list[str | None]:
    return list(Schema.from_config(config).steps[-2].inputs)


# -- recorded servers -------------------------------------------------------------------------


@pytest.mark.recorded
@pytest.mark.parametrize("truth", TRUTHS, ids=lambda path: path.name)
@pytest.mark.parametrize("language", ["English", "another"])
def test_recorded_servers_are_named_exactly(truth: Path, language: str) -> None:
    config = json.loads(truth.with_name(truth.name.replace(".inputs.json", ".json")).read_text())
    schema = Schema.from_config(translate(config) if language == "another" else config)
    steps = {call.fn_index: list(call.inputs) for call in schema.steps}
    functions = json.loads(truth.read_text())
    for function in functions:
        assert steps[function["fn_index"]] == function["inputs"]
    true_names = [name for function in functions for name in function["inputs"]]
    assert list(schema.parameters) == [name for name in true_names if name != "currentTask"]
    assert schema.version == truth.name.split("-")[0].removesuffix(".inputs.json")
    assert schema.outputs.progress == 0
    assert schema.outputs.final_gallery == 3
    # 2.1's stop takes nothing, later ones the task's state.
    stop = () if schema.version.startswith("2.1") else ("currentTask",)
    assert schema.stop is not None
    assert schema.skip is not None
    assert schema.stop.inputs == schema.skip.inputs == stop
    assert not schema.stop.queued


@pytest.mark.recorded
@pytest.mark.parametrize("truth", TRUTHS, ids=lambda path: path.name)
def test_recorded_servers_say_what_else_they_do(truth: Path) -> None:
    config = json.loads(truth.with_name(truth.name.replace(".inputs.json", ".json")).read_text())
    for page in (config, translate(config)):
        schema = Schema.from_config(page)
        expected = {"load_parameters", "describe", "refresh"}
        if not schema.version.startswith("2.1"):
            expected |= {"preset", "apply_metadata", "read_metadata", "history"}
        if schema.version.startswith("2.5"):
            expected.add("make_mask")
        assert set(schema.verbs) == expected
        for call in schema.verbs.values():
            assert len(schema.payload(call, {})) == len(call.inputs)
        assert "prompt" in schema.verbs["describe"].targets
        assert "image" in schema.verbs["describe"].own
        if "preset" in schema.verbs:
            assert "initial" in (schema.verbs["preset"].own["preset"].choices or ())


# -- versions, flags and settings -------------------------------------------------------------


@pytest.mark.parametrize("language", slow_but(["English", "another"], "another"))
@pytest.mark.parametrize("version", ["2.2.1", "2.3.1", "2.4.3", "2.5.5"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"loras": 1, "prompts": 1, "tabs": 1},
        {"loras": 12, "prompts": 9, "tabs": 6},
        {"loras": 0},
        {"prompts": 0, "tabs": 0},
        {"without": ["save_metadata_to_images", "metadata_scheme"]},
        {"without": ["save_final_enhanced_image_only"]},
        {
            "without": [
                "save_final_enhanced_image_only",
                "save_metadata_to_images",
                "metadata_scheme",
            ]
        },
    ],
)
def test_shapes_that_were_not_recorded(version: str, shape: dict[str, Any], language: str) -> None:
    config, truth = make_config(version, **shape)
    assert named(translate(config) if language == "another" else config) == truth


def test_what_a_fork_moves_keeps_its_name() -> None:
    config, truth = make_config()
    inputs = config["dependencies"][4]["inputs"]
    for name, place in (("generate_image_grid", 40), ("controlnet_softness", 3)):
        index = truth.index(name)
        inputs.insert(place, inputs.pop(index))
        truth.insert(place, truth.pop(index))
    assert named(config) == truth


@pytest.mark.parametrize("place", [1, 9, 17, 40, 60, 88, 120, 153])
@pytest.mark.parametrize(
    "item",
    [
        {"type": "checkbox", "props": {"label": "Fork option!", "value": True}},
        {"type": "slider", "props": {"label": "Fork option!", "minimum": 0, "maximum": 1}},
        {"type": "colorpicker", "props": {"label": "Fork option!", "value": "#fff"}},
        {"type": "dropdown", "props": {"label": "Fork option!", "choices": ["a"], "value": "a"}},
    ],
)
def test_what_a_fork_adds_is_a_parameter_of_its_own(item: dict[str, Any], place: int) -> None:
    config, truth = make_config()
    config["components"].append({"id": 9999, **item})
    config["dependencies"][4]["inputs"].insert(place, 9999)
    truth.insert(place, "fork_option")
    schema = Schema.from_config(config)
    assert list(schema.steps[0].inputs) == truth
    assert schema.payload(schema.steps[0], {})[place] == item["props"].get("value", 0)


def test_a_new_name_never_hides_a_known_one() -> None:
    config, truth = make_config(without=["clip_skip"])
    props = {"label": "clip_skip", "value": True}
    config["components"].append({"id": 9999, "type": "checkbox", "props": props})
    config["dependencies"][4]["inputs"].append(9999)
    assert named(config) == [*truth, "clip_skip_2"]


def test_a_reworded_label_is_recognised() -> None:
    config, truth = make_config()
    for item in config["components"]:
        if item["props"].get("label") == "Invert Mask When Generating":
            item["props"]["label"] = "Invert Mask"
        if item["props"].get("label") == "Negative ADM Guidance Scaler":
            item["props"]["label"] = "Scaler below"
    assert named(config) == truth


def test_an_opposite_is_not_a_rewording() -> None:
    config, truth = make_config(without=["disable_preview"])
    props = {"label": "Enable Preview", "value": True}
    config["components"].append({"id": 9999, "type": "checkbox", "props": props})
    place = truth.index("disable_intermediate_results")
    config["dependencies"][4]["inputs"].insert(place, 9999)
    schema = Schema.from_config(config)
    assert "'disable_preview'" in schema.parameters["enable_preview"].doubt
    assert "something new" in schema.parameters["enable_preview"].doubt
    assert "disable_preview" not in schema.parameters


@pytest.mark.parametrize("share", [0.2, pytest.param(0.5, marks=pytest.mark.slow), 0.8])
@pytest.mark.parametrize("version", ["2.2.1", "2.3.1", "2.4.3", "2.5.5"])
def test_half_a_translation(version: str, share: float) -> None:
    config, truth = make_config(version)
    translated = translate(config)
    for place, item in enumerate(config["components"]):
        if place * 7 % 100 < share * 100:
            item["props"] = translated["components"][place]["props"]
    assert named(config) == truth


def test_gradio_4_shape() -> None:
    config, truth = make_config()
    for index, dependency in enumerate(config["dependencies"]):
        dependency["id"] = index + 100
        dependency["targets"] = [[dependency["targets"][0], dependency.pop("trigger")]]
        if dependency["trigger_after"] is not None:
            dependency["trigger_after"] += 100
    schema = Schema.from_config(config)
    assert [call.fn_index for call in schema.steps] == [104, 105]
    assert list(schema.steps[0].inputs) == truth


# -- mangled pages ----------------------------------------------------------------------------

CONFIG, TRUTH = make_config()


def _truth_by_id(config: dict[str, Any], truth: list[str]) -> dict[int, str]:
    return dict(zip(config["dependencies"][4]["inputs"], truth, strict=True))


def _check_never_wrong(config: dict[str, Any], truth: dict[int, str]) -> Schema | None:
    """Hold that an input has its true name, or is called by its label and cannot be given."""
    try:
        schema = Schema.from_config(config)
    except UnsupportedServer:
        return None
    inputs = config["dependencies"][4]["inputs"]
    for number, name in zip(inputs, schema.steps[-2].inputs, strict=True):
        if number in truth and name == truth[number]:
            continue
        assert name not in TRUTH
        assert name is not None
        assert not is_known_parameter(name)
    return schema


def _shuffled_ids(config: dict[str, Any], rnd: random.Random) -> dict[int, int]:
    numbers = [item["id"] for item in config["components"]]
    others = list(numbers)
    rnd.shuffle(others)
    mapping = dict(zip(numbers, others, strict=True))
    for item in config["components"]:
        item["id"] = mapping[item["id"]]
    for dependency in config["dependencies"]:
        for key in ("targets", "inputs", "outputs"):
            dependency[key] = [mapping[number] for number in dependency[key]]
    rnd.shuffle(config["components"])
    return mapping


@MANGLED
@given(st.randoms(use_true_random=False), st.booleans())
def test_ids_mean_nothing(rnd: random.Random, foreign: bool) -> None:
    config = translate(CONFIG) if foreign else copy.deepcopy(CONFIG)
    _shuffled_ids(config, rnd)
    assert named(config) == TRUTH


@MANGLED
@given(st.lists(st.integers(1, len(TRUTH) - 1), min_size=1, max_size=6, unique=True), st.booleans())
def test_dropped_inputs_never_shift_the_others(dropped: list[int], foreign: bool) -> None:
    config = copy.deepcopy(CONFIG)
    truth = _truth_by_id(config, TRUTH)
    inputs = config["dependencies"][4]["inputs"]
    config["dependencies"][4]["inputs"] = [n for i, n in enumerate(inputs) if i not in dropped]
    if not foreign:
        _check_never_wrong(config, truth)
        return
    # Without labels, one that is gone is found only where the rest no longer fits.
    if len(dropped) == 1 and TRUTH[dropped[0]] not in (
        "save_final_enhanced_image_only",
        "save_metadata_to_images",
    ):
        _check_never_wrong(translate(config), truth)


@MANGLED
@given(st.integers(1, len(TRUTH) - 1), st.integers(1, 40))
def test_a_dropped_run_never_shifts_the_others(start: int, length: int) -> None:
    config = copy.deepcopy(CONFIG)
    truth = _truth_by_id(config, TRUTH)
    del config["dependencies"][4]["inputs"][start : start + length]
    groups = re.compile(r"(ip|enhance)_\d+_")
    gone = TRUTH[start : start + length]
    if length % 4 == 0 or length % 16 == 0:
        # Whole groups may go: then those that follow are counted anew.
        found = {name for name in gone if groups.match(name)}
        if found:
            return
    _check_never_wrong(config, truth)


@MANGLED
@given(
    st.lists(st.integers(1, len(TRUTH)), min_size=1, max_size=5),
    st.sampled_from(["checkbox", "slider", "textbox", "dropdown", "radio", "image", "number"]),
    st.sampled_from(["Fork option", "Enable my thing", "Backend", "追加"]),
    st.randoms(use_true_random=False),
)
def test_inserted_inputs_never_shift_the_others(
    places: list[int], kind: str, label: str, rnd: random.Random
) -> None:
    config = copy.deepcopy(CONFIG)
    truth = _truth_by_id(config, TRUTH)
    for number, place in enumerate(places):
        props = {"label": label, "value": None, "minimum": 0, "maximum": 1, "step": 0.001}
        config["components"].append({"id": 5000 + number, "type": kind, "props": props})
        config["dependencies"][4]["inputs"].insert(place, 5000 + number)
    assert _check_never_wrong(config, truth)
    mapping = _shuffled_ids(config, rnd)
    assert _check_never_wrong(config, {mapping[number]: name for number, name in truth.items()})


@MANGLED
@given(st.integers(1, len(TRUTH) - 1), st.integers(1, len(TRUTH)))
def test_a_second_of_the_same_is_never_taken_for_the_first(original: int, place: int) -> None:
    config = copy.deepcopy(CONFIG)
    truth = _truth_by_id(config, TRUTH)
    twin = config["dependencies"][4]["inputs"][original]
    item = next(item for item in config["components"] if item["id"] == twin)
    config["components"].append({**item, "id": 7777})
    config["dependencies"][4]["inputs"].insert(place, 7777)
    schema = _check_never_wrong(config, truth)
    if TRUTH[original] in ("prompt", "image_seed"):
        return
    # The others are there as before: at most a group is in doubt.
    assert schema is not None
    assert len(schema.parameters.doubtful) <= 70


@MANGLED
@given(st.randoms(use_true_random=False))
def test_shuffled_inputs_are_right_or_refused(rnd: random.Random) -> None:
    config = copy.deepcopy(CONFIG)
    truth = _truth_by_id(config, TRUTH)
    rnd.shuffle(config["dependencies"][4]["inputs"])
    _check_never_wrong(config, truth)


# -- servers that are no Fooocus --------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"components": [], "dependencies": []},
        {"components": [{"id": 1}], "dependencies": []},
        {"components": "x", "dependencies": None},
        [],
        None,
    ],
)
def test_no_fooocus_is_refused_with_a_report(config: Any) -> None:
    with pytest.raises(UnsupportedServer, match="not a Fooocus that we can speak to"):
        Schema.from_config(config)


def test_the_report_names_the_inputs_and_no_values() -> None:
    config, _ = make_config(without=["prompt"])
    for item in config["components"]:
        item["props"]["value"] = "private"
    with pytest.raises(UnsupportedServer) as caught:
        Schema.from_config(config)
    report = str(caught.value)
    assert "none of its inputs is certainly the prompt" in report
    assert "Fooocus 2.5.5" in report
    assert "slider 'Guidance Scale' 1.0..30.0 by 0.01" in report
    assert "private" not in report


# -- using a schema ---------------------------------------------------------------------------


def test_names_resolve() -> None:
    schema = Schema.from_config(CONFIG)
    assert schema.resolve("styles") == "style_selections"
    assert schema.resolve("style_selections") == "style_selections"
    assert schema.resolve("inpaint_mask_upload_checkbox") == "inpaint_advanced_masking_checkbox"
    with pytest.raises(ParameterError, match=r"Did you mean 'guidance_scale'\?"):
        schema.resolve("guidance_scal")


def test_what_another_version_has_is_said_to_be_missing_here() -> None:
    config, _ = make_config("2.2.1", loras=3)
    schema = Schema.from_config(config)
    for name in ("vae", "enhance_1_prompt", "clip_skip"):
        with pytest.raises(UnsupportedParameter, match=r"Fooocus 2\.2\.1"):
            schema.resolve(name)
    with pytest.raises(UnsupportedParameter, match="It has 3 of lora_"):
        schema.resolve("lora_4_model")


def test_payload_is_the_servers_defaults() -> None:
    schema = Schema.from_config(CONFIG)
    setter, generator = schema.steps
    payload = dict(zip(setter.inputs, schema.payload(setter, {"prompt": "a cat"}), strict=True))
    assert payload["currentTask"] is None
    assert payload["prompt"] == "a cat"
    assert payload["current_tab"] == "uov"
    assert payload["uov_input_image"] is None
    assert payload["guidance_scale"] == 4.0
    assert payload["style_selections"] == []
    assert schema.payload(generator, {}) == [None]


def test_parameters_show_as_a_table_and_are_escaped() -> None:
    config, _ = make_config()
    for item in config["components"]:
        if item["props"].get("label") == "Sampler":
            item["props"]["choices"] = ["euler", "<script>alert(1)</script>"]
    table = Schema.from_config(config).parameters
    shown = table._repr_html_()
    assert "<script" not in shown
    assert "aspect_ratios_selection, aspect_ratio" in shown
    assert "1152x896" in shown
    assert "Guidance Scale" in repr(table)
    assert list(table.filter("canny")) == ["canny_low_threshold", "canny_high_threshold"]


def test_two_servers_are_compared() -> None:
    old_config = make_config("2.4.3", loras=6)[0]
    for item in old_config["components"]:
        if item["props"].get("label") == "Guidance Scale":
            item["props"].update(value=7.0, maximum=60.0)
        if item["props"].get("label") == "Sampler":
            item["props"]["choices"] = ["euler", "<b>mine</b>", *map(str, range(9))]
    old = Schema.from_config(old_config).parameters
    new = Schema.from_config(make_config("2.5.5")[0]).parameters
    difference = old.diff(new)
    assert difference["enhance_checkbox"] == (None, new["enhance_checkbox"])
    assert difference.only_here == (
        *("lora_6_enabled", "lora_6_model", "lora_6_weight"),
        "inpaint_mask_upload_checkbox",
    )
    assert "enhance_1_prompt" in difference.only_there
    assert difference.changed == ("guidance_scale", "sampler_name", "invert_mask_checkbox")
    rows = [re.split(r"  +", line) for line in repr(difference).splitlines()]
    assert rows[0] == ["name", "what", "here", "there"]
    assert ["guidance_scale", "default", "7.0", "4.0"] in rows
    assert ["guidance_scale", "range", "1 to 60 by 0.01", "1 to 30 by 0.01"] in rows
    assert ["sampler_name", "choices", "also mine, 0, 1, 2, 3 and 5 more", "also dpmpp_2m"] in rows
    assert ["lora_6_weight", "only here", "number"] in rows
    shown = difference._repr_html_()
    assert "<b>" not in shown
    assert "only there" in shown
    assert not new.diff(new)
    assert repr(new.diff(new)) == "no difference"
