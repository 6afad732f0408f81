"""The functions of the web app beside "Generate", for `gradio3_app` on any Gradio.

They take and answer what Fooocus's take and answer, record what arrives, and know one trick each.
"""

import json
from pathlib import Path

import gradio as gr
from PIL import Image

NEW_MODEL = "brand_new.safetensors"
PRESETS = ["initial", "lightning", "anime"]
CONTENTS = ["Photograph", "Art/Anime"]
MASK_MODELS = ["u2net", "u2net_cloth_seg", "sam"]
#: What each preset sets, by the names of the components in `page`.
CHANGES = {"lightning": {"performance": "Lightning"}, "anime": {"guidance": 6.0}}


def embedded(path):
    """Return what a PNG says of itself, as Fooocus answers it."""
    with Image.open(path) as picture:
        info = picture.info
    if "parameters" not in info:
        return {}
    scheme = info.get("fooocus_scheme", "fooocus")
    found = info["parameters"]
    return {
        "parameters": json.loads(found) if scheme == "fooocus" else found,
        "metadata_scheme": scheme,
    }


def add_verbs(page, parts, recorder, image, plain):
    """Add the tabs and functions to a page.

    `page` has what a preset sets, by name, `parts` what else the functions take; `image` makes an
    input for a picture, and `plain` turns a value into what JSON can hold.
    """
    groups = (group if isinstance(group, list) else [group] for group in page.values())
    loaded = [item for group in groups for item in group]
    generating = gr.State(False)
    described = image()
    content = gr.CheckboxGroup(label="Content Type", choices=CONTENTS, value=CONTENTS[:1])
    apply = gr.Checkbox(label="Apply Styles", value=True)
    describe = gr.Button("Describe this Image into Prompt")
    source = image("For images created by Fooocus", type="filepath")
    shown = gr.JSON(label="Metadata")
    mask_model = gr.Dropdown(label="Mask generation model", choices=MASK_MODELS, value="u2net")
    cloth = gr.Dropdown(label="Cloth category", choices=["full", "upper"], value="full")
    detect = gr.Textbox(label="Detection prompt")
    sam = gr.Dropdown(label="SAM model", choices=["vit_b", "vit_l"], value="vit_b")
    box = gr.Slider(0.0, 1.0, 0.3, step=0.05, label="Box Threshold")
    text = gr.Slider(0.0, 1.0, 0.25, step=0.05, label="Text Threshold")
    most = gr.Slider(0, 10, 0, step=1, label="Maximum number of detections")
    find_mask = gr.Button("Generate mask from image")
    preset = gr.Dropdown(label="Preset", choices=PRESETS, value=PRESETS[0])
    refresh = gr.Button("Refresh All Files")

    def on_describe(kinds, picture, styled):
        recorder.write(call="describe", values=[kinds, plain(picture), styled])
        return "a square", ["SAI Anime"]

    def on_mask(*values):
        recorder.write(call="make_mask", values=[plain(value) for value in values])
        picture = values[0].get("image", values[0].get("background"))
        found = picture[..., :3] * 0
        found[: found.shape[0] // 2] = 255
        # The first Gradio 4 takes no plain picture for its editor, and later ones take both.
        if type(parts["mask"]).__name__ == "ImageEditor":
            return {"background": found, "layers": [], "composite": found}
        return found

    def on_upload(path):
        recorder.write(call="read_metadata", values=[Path(path).suffix])
        return embedded(path)

    def on_preset(name, state, chosen):
        recorder.write(call="preset", values=[name, state, chosen])
        changes = {id(page[key]): value for key, value in CHANGES.get(name, {}).items()}
        return [changes.get(id(item), gr.update()) for item in loaded]

    def on_refresh():
        recorder.write(call="refresh", values=[])
        files = [page["base"].value, NEW_MODEL]
        found = gr.update(choices=files), gr.update(choices=["None", *files])
        return *found, gr.update(choices=[*PRESETS, "new"])

    describe.click(
        on_describe, inputs=[content, described, apply], outputs=[page["prompt"], page["styles"]]
    )
    source.upload(on_upload, inputs=source, outputs=shown, queue=False)
    settings = [mask_model, cloth, detect, sam, box, text, most]
    given = [parts["canvas"], *settings, parts["dino"], parts["debug_dino"]]
    find_mask.click(on_mask, inputs=given, outputs=parts["mask"])
    preset.change(
        on_preset, inputs=[preset, generating, parts["method"]], outputs=loaded, queue=False
    )
    refresh.click(on_refresh, outputs=[page["base"], page["refiner"], preset], queue=False)
