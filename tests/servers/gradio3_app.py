"""A small app in the shape of Fooocus 2.5, served by a real Gradio 3.41.2.

Runs in an environment of its own, as ``python gradio3_app.py --port N --record FILE``. It has the
labels, elem_ids and order of the inputs that a client must find its way in, and does nothing but
draw coloured squares. What arrives goes to the record as JSON lines: one object for each call,
with its values position by position.

A prompt steers it: ``fail``, ``nothing``, ``refuse`` and ``slow`` do what they say.
"""

import argparse
import io
import itertools
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import gradio as gr
from PIL import Image
from verbs_app import add_verbs

STYLES = ["Fooocus V2", "Fooocus Enhance", "Fooocus Sharp", "SAI Anime", "SAI Neonpunk"]
PERFORMANCE = ["Quality", "Speed", "Extreme Speed", "Lightning", "Hyper-SD"]
SIZES = [
    (704, 1408, "1:2"),
    (1024, 1024, "1:1"),
    (1152, 896, "9:7"),
    (1344, 768, "7:4"),
    (1408, 704, "2:1"),
]
ASPECTS = [f'{w}×{h} <span style="color: grey;"> ∣ {ratio}</span>' for w, h, ratio in SIZES]
UOV = [
    "Disabled",
    "Vary (Subtle)",
    "Vary (Strong)",
    "Upscale (1.5x)",
    "Upscale (2x)",
    "Upscale (Fast 2x)",
]
MODEL = "juggernautXL_v8Rundiffusion.safetensors"
METHODS = ["Inpaint or Outpaint (default)", "Improve Detail", "Modify Content"]
MASK_MODELS = ["u2net", "u2netp", "u2net_human_seg", "u2net_cloth_seg", "silueta", "sam"]
SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m_sde_gpu", "lcm"]
SCHEDULERS = ["normal", "karras", "lcm", "turbo"]
ENGINES = ["None", "v1", "v2.5", "v2.6"]


class Task:
    """What the setter leaves for the generator, and what stop and skip write on."""

    def __init__(self, values=()):
        self.values = list(values)
        self.asked = None


class Recorder:
    """Appends what arrives to a file, for the test to read."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()

    def write(self, **entry):
        with self.lock, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def plain(value):
    """Return a value as JSON can hold it; pictures become their size and colour."""
    if hasattr(value, "shape"):
        return {"shape": list(value.shape), "mean": float(value.mean())}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Task):
        return "task"
    return value


def bar(number, text):
    return f'<div><progress value="{number}" max="100"></progress><span>{text}</span></div>'


def square(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def make_image(label="Image", **more):
    """Return an input for a picture; `gradio4_app` has another."""
    return gr.Image(label=label, source="upload", **{"type": "numpy", **more})


def build(args, recorder):
    """Return the app."""
    image = make_image
    temp = Path(args.temp_path)

    def setter(*values):
        recorder.write(
            call="task", values=[plain(value) for value in values], known=bool(values[0].values)
        )
        if values[2] == "refuse":
            raise ValueError("this task cannot be built")
        return Task(values[1:])

    def work(task, tell):
        """Make the images, as Fooocus's worker does: to the end, whoever listens."""
        prompt, number = task.values[1], task.values[6]
        steps = 50 if prompt == "slow" else 3
        paths = []
        for image in range(1, number + 1):
            if prompt == "fail":
                raise RuntimeError("the worker broke")
            seed = int(task.values[8]) + image - 1
            for step in range(1, steps + 1):
                if task.asked:
                    break
                time.sleep(args.step_seconds)
                share = int(100 * (image - 1 + step / steps) / number)
                preview = Image.new("RGB", (32, 32), (seed % 256, 5 * step, 0))
                text = f"Sampling step {step}/{steps}, image {image}/{number} ..."
                tell(
                    gr.update(visible=True, value=bar(share, text)),
                    gr.update(visible=True, value=preview),
                    gr.update(),
                    gr.update(visible=False),
                )
            asked, task.asked = task.asked, None
            if asked == "stop":
                break
            if asked == "skip":
                continue
            path = temp / f"{next(numbers)} {prompt[:20]} #{seed} 100%.png"
            path.write_bytes(square((seed % 256, 0, image)))
            note_in_log(path, {"prompt": prompt, "seed": str(seed)})
            recorder.write(call="image", prompt=prompt, seed=str(seed))
            paths.append(str(path))
            tell(
                gr.update(visible=True),
                gr.update(visible=True),
                gr.update(visible=True, value=list(paths)),
                gr.update(visible=False),
            )
        hidden = [gr.update(visible=False) for _ in range(3)]
        tell(*hidden, gr.update(visible=True, value=list(paths)))

    working = threading.Lock()
    numbers = itertools.count(1)

    def worker(task, news):
        end = None
        try:
            with working:
                work(task, lambda *updates: news.put(updates))
        except RuntimeError as error:  # the generator raises it, if anybody still listens
            end = error
        news.put(end)

    def generator(task):
        recorder.write(call="generate", values=len(task.values))
        if not task.values:
            return
        if task.values[1] == "nothing":
            yield gr.update(visible=False), gr.update(), gr.update(), gr.update(value=[])
            return
        yield (
            gr.update(visible=True, value=bar(1, "Waiting for task to start ...")),
            gr.update(visible=True, value=None),
            gr.update(visible=False, value=[]),
            gr.update(visible=False),
        )
        news = queue.SimpleQueue()
        threading.Thread(target=worker, args=(task, news), daemon=True).start()
        while (updates := news.get()) is not None:
            if isinstance(updates, Exception):
                raise updates
            yield updates

    log_page = temp / "log.html"

    def note_in_log(path, values):
        """Put an image at the top of the log page."""
        copied = quote(json.dumps(values), safe="")
        block = (
            f"""<img src="{quote(path.name)}"><button onclick="copy('{copied}')">Copy</button>"""
        )
        before = log_page.read_text() if log_page.exists() else ""
        log_page.write_text(f"{block}\n{before}")

    def history():
        return gr.update(value=f'<a href="file={log_page}" target="_blank">History Log</a>')

    def ask(verb):
        def write(task):
            recorder.write(call=verb)
            task.asked = verb
            return task

        return write

    named = {}

    def enhance_tab(index):
        """The sixteen inputs of one enhancement, in the order of the call."""
        enabled = gr.Checkbox(label="Enable", value=False)
        detect = gr.Textbox(label="Detection prompt")
        prompt = gr.Textbox(label="Enhancement positive prompt", elem_id="enhance_prompt")
        negative = gr.Textbox(
            label="Enhancement negative prompt", elem_id="enhance_negative_prompt"
        )
        with gr.Accordion("Detection", open=False):
            model = gr.Dropdown(label="Mask generation model", choices=MASK_MODELS, value="sam")
            cloth = gr.Dropdown(
                label="Cloth category", choices=["full", "upper", "lower"], value="full"
            )
            with gr.Accordion("SAM Options", open=False):
                sam = gr.Dropdown(
                    label="SAM model", choices=["vit_b", "vit_l", "vit_h"], value="vit_b"
                )
                box = gr.Slider(0.0, 1.0, 0.3, step=0.05, label="Box Threshold")
                text = gr.Slider(0.0, 1.0, 0.25, step=0.05, label="Text Threshold")
                most = gr.Slider(0, 10, 0, step=1, label="Maximum number of detections")
        with gr.Accordion("Inpaint", open=False):
            gr.Dropdown(label="Method", choices=["Inpaint or Outpaint (default)"])
            latent = gr.Checkbox(label="Disable initial latent in inpaint", value=False)
            engine = gr.Dropdown(label="Inpaint Engine", choices=ENGINES, value="v2.6")
            strength = gr.Slider(0.0, 1.0, 1.0, step=0.001, label="Inpaint Denoising Strength")
            field = gr.Slider(0.0, 1.0, 0.618, step=0.001, label="Inpaint Respective Field")
            erode = gr.Slider(-64, 64, 0, step=1, label="Mask Erode or Dilate")
            invert = gr.Checkbox(label="Invert Mask", value=False)
        named[f"enhance {index}"] = [
            enabled, detect, prompt, negative, model, cloth, sam, text, box, most,
            latent, engine, strength, field, erode, invert,
        ]  # fmt: skip

    with gr.Blocks(title="Fooocus 2.5.5") as blocks:
        task = gr.State(Task())
        with gr.Row():
            preview = gr.Image(label="Preview", visible=False)
            running = gr.Gallery(label="Finished Images", visible=False)
            progress = gr.HTML(elem_id="progress-bar", visible=False)
            gallery = gr.Gallery(label="Gallery", show_label=False, elem_id="final_gallery")
        prompt = gr.Textbox(show_label=False, value="", elem_id="positive_prompt")
        generate = gr.Button("Generate", elem_id="generate_button")
        skip = gr.Button("Skip", elem_id="skip_button")
        stop = gr.Button("Stop", elem_id="stop_button")
        input_image = gr.Checkbox(label="Input Image", value=False)
        enhance = gr.Checkbox(label="Enhance", value=False)
        gr.Checkbox(label="Advanced", value=False)
        with gr.Tabs():
            with gr.TabItem("Upscale or Variation"):
                uov_image = image()
                uov = gr.Radio(label="Upscale or Variation:", choices=UOV, value="Disabled")
            with gr.TabItem("Image Prompt"):
                slots = []
                for _ in range(args.image_prompts):
                    with gr.Column():
                        picture = image()
                        with gr.Row():
                            until = gr.Slider(0.0, 1.0, 0.5, step=0.001, label="Stop At")
                            weight = gr.Slider(0.0, 2.0, 0.6, step=0.001, label="Weight")
                        kind = gr.Radio(
                            label="Type",
                            choices=["ImagePrompt", "PyraCanny", "CPDS", "FaceSwap"],
                            value="ImagePrompt",
                        )
                        slots += [picture, until, weight, kind]
            with gr.TabItem("Inpaint or Outpaint"):
                canvas = image(tool="sketch", elem_id="inpaint_canvas")
                masking = gr.Checkbox(label="Enable Advanced Masking Features", value=False)
                method = gr.Dropdown(
                    label="Method", choices=METHODS, value="Inpaint or Outpaint (default)"
                )
                extra = gr.Textbox(
                    label="Inpaint Additional Prompt", elem_id="inpaint_additional_prompt"
                )
                outpaint = gr.CheckboxGroup(
                    label="Outpaint Direction", choices=["Left", "Right", "Top", "Bottom"], value=[]
                )
                mask = image("Mask Upload", tool="sketch", elem_id="inpaint_mask_canvas")
                invert = gr.Checkbox(label="Invert Mask When Generating", value=False)
            with gr.TabItem("Enhance"):
                enhance_image = image("Use with Enhance, skips image generation")
        with gr.Tabs():
            with gr.TabItem("Upscale or Variation"):
                enhance_uov = gr.Radio(label="Upscale or Variation:", choices=UOV, value="Disabled")
                order = gr.Radio(
                    label="Order of Processing",
                    choices=["Before First Enhancement", "After Last Enhancement"],
                    value="Before First Enhancement",
                )
                which = gr.Radio(
                    label="Prompt",
                    choices=["Original Prompts", "Last Filled Enhancement Prompts"],
                    value="Original Prompts",
                )
            for index in range(args.enhance_tabs):
                with gr.TabItem(f"#{index + 1}"):
                    enhance_tab(index)
        tab = gr.Textbox(value="uov", visible=False)
        with gr.Tabs():
            with gr.TabItem("Settings"):
                performance = gr.Radio(label="Performance", choices=PERFORMANCE, value="Speed")
                with gr.Accordion("Aspect Ratios", open=False, elem_id="aspect_ratios_accordion"):
                    aspect = gr.Radio(label="Aspect Ratios", choices=ASPECTS, value=ASPECTS[2])
                number = gr.Slider(1, 32, 2, step=1, label="Image Number")
                output = gr.Radio(
                    label="Output Format", choices=["png", "jpeg", "webp"], value="png"
                )
                negative = gr.Textbox(label="Negative Prompt", elem_id="negative_prompt")
                gr.Checkbox(label="Random", value=True)
                if args.number_seed:  # as before 2.1.733
                    seed = gr.Number(label="Seed", value=0, precision=0)
                else:
                    seed = gr.Textbox(label="Seed", value="0")
            with gr.TabItem("Styles"):
                styles = gr.CheckboxGroup(label="Selected Styles", choices=STYLES, value=STYLES[:3])
            with gr.TabItem("Models"):
                base = gr.Dropdown(label="Base Model (SDXL only)", choices=[MODEL], value=MODEL)
                refiner = gr.Dropdown(
                    label="Refiner (SDXL or SD 1.5)", choices=["None", MODEL], value="None"
                )
                switch = gr.Slider(0.1, 1.0, 0.5, step=0.0001, label="Refiner Switch At")
                loras = []
                for index in range(args.loras):
                    with gr.Row():
                        loras += [
                            gr.Checkbox(label="Enable", value=True),
                            gr.Dropdown(
                                label=f"LoRA {index + 1}",
                                choices=["None", "offset.safetensors"],
                                value="None",
                            ),
                            gr.Slider(-2, 2, 1.0, step=0.01, label="Weight"),
                        ]
            with gr.TabItem("Advanced"):
                guidance = gr.Slider(1.0, 30.0, 4.0, step=0.01, label="Guidance Scale")
                sharpness = gr.Slider(0.0, 30.0, 2.0, step=0.001, label=args.sharpness_label)
                with gr.Tabs():
                    with gr.TabItem("Debug Tools"):
                        adm = [
                            gr.Slider(0.1, 3.0, 1.5, label="Positive ADM Guidance Scaler"),
                            gr.Slider(0.1, 3.0, 0.8, label="Negative ADM Guidance Scaler"),
                            gr.Slider(0.0, 1.0, 0.3, label="ADM Guidance End At Step"),
                        ]
                        swap = gr.Dropdown(
                            label="Refiner swap method",
                            choices=["joint", "separate", "vae"],
                            value="joint",
                        )
                        sampling = [
                            gr.Slider(1.0, 30.0, 7.0, label="CFG Mimicking from TSNR"),
                            gr.Slider(1, 12, 2, step=1, label="CLIP Skip"),
                            gr.Dropdown(
                                label="Sampler", choices=SAMPLERS, value="dpmpp_2m_sde_gpu"
                            ),
                            gr.Dropdown(label="Scheduler", choices=SCHEDULERS, value="karras"),
                            gr.Dropdown(
                                label="VAE", choices=["Default (model)"], value="Default (model)"
                            ),
                        ]
                        grid = gr.Checkbox(label="Generate Image Grid for Each Batch", value=False)
                        forced = "Forced Overwrite of "
                        overwrites = [
                            gr.Slider(-1, 200, -1, step=1, label=forced + "Sampling Step"),
                            gr.Slider(-1, 200, -1, step=1, label=forced + "Refiner Switch Step"),
                            gr.Slider(-1, 2048, -1, step=1, label=forced + "Generating Width"),
                            gr.Slider(-1, 2048, -1, step=1, label=forced + "Generating Height"),
                            gr.Slider(-1, 1.0, -1, label=forced + 'Denoising Strength of "Vary"'),
                            gr.Slider(
                                -1, 1.0, -1, label=forced + 'Denoising Strength of "Upscale"'
                            ),
                        ]
                        switches = [
                            gr.Checkbox(label=label, value=False)
                            for label in (
                                "Disable Preview",
                                "Disable Intermediate Results",
                                "Disable seed increment",
                            )
                        ]
                        wildcards = gr.Checkbox(label="Read wildcards in order", value=False)
                        nsfw = gr.Checkbox(label="Black Out NSFW", value=False)
                        final_only = gr.Checkbox(
                            label="Save only final enhanced image", value=False
                        )
                        metadata = [] if args.disable_metadata else [
                            gr.Checkbox(label="Save Metadata to Images", value=False),
                            gr.Radio(
                                label="Metadata Scheme",
                                choices=[
                                    ("fooocus (json)", "fooocus"),
                                    ("a1111 (plain text)", "a1111"),
                                ],
                                value="fooocus",
                            ),
                        ]  # fmt: skip
                    with gr.TabItem("Control"):
                        debug = gr.Checkbox(label="Debug Preprocessors", value=False)
                        skipping = gr.Checkbox(label="Skip Preprocessors", value=False)
                        mixing = [
                            gr.Checkbox(label="Mixing Image Prompt and Vary/Upscale", value=False),
                            gr.Checkbox(label="Mixing Image Prompt and Inpaint", value=False),
                        ]
                        softness = gr.Slider(0.0, 1.0, 0.25, label="Softness of ControlNet")
                        canny = [
                            gr.Slider(1, 255, 64, step=1, label="Canny Low Threshold"),
                            gr.Slider(1, 255, 128, step=1, label="Canny High Threshold"),
                        ]
                    with gr.TabItem("Inpaint"):
                        debug_inpaint = gr.Checkbox(
                            label="Debug Inpaint Preprocessing", value=False
                        )
                        debug_masks = gr.Checkbox(label="Debug Enhance Masks", value=False)
                        debug_dino = gr.Checkbox(label="Debug GroundingDINO", value=False)
                        inpaint = [
                            gr.Checkbox(label="Disable initial latent in inpaint", value=False),
                            gr.Dropdown(label="Inpaint Engine", choices=ENGINES, value="v2.6"),
                            gr.Slider(0.0, 1.0, 1.0, label="Inpaint Denoising Strength"),
                            gr.Slider(0.0, 1.0, 0.618, label="Inpaint Respective Field"),
                        ]
                        erode = gr.Slider(-64, 64, 0, step=1, label="Mask Erode or Dilate")
                        dino = gr.Slider(
                            -64, 64, 0, step=1, label="GroundingDINO Box Erode or Dilate"
                        )
                    with gr.TabItem("FreeU"):
                        freeu = [
                            gr.Checkbox(label="Enabled", value=False),
                            gr.Slider(0, 2, 1.01, step=0.01, label="B1"),
                            gr.Slider(0, 2, 1.02, step=0.01, label="B2"),
                            gr.Slider(0, 4, 0.99, step=0.01, label="S1"),
                            gr.Slider(0, 4, 0.95, step=0.01, label="S2"),
                        ]
        inputs = [
            task, grid, prompt, negative, styles, performance, aspect, number, output, seed,
            wildcards, sharpness, guidance, base, refiner, switch, *loras, input_image, tab, uov,
            uov_image, outpaint, canvas, extra, mask, *switches, nsfw, *adm, *sampling,
            *overwrites, *mixing, debug, skipping, *canny, swap, softness, *freeu, debug_inpaint,
            *inpaint, masking, invert, erode, final_only, *metadata, *slots, debug_dino, dino,
            debug_masks, enhance_image, enhance, enhance_uov, order, which,
            *(item for index in range(args.enhance_tabs) for item in named[f"enhance {index}"]),
        ]  # fmt: skip
        stop.click(ask("stop"), inputs=task, outputs=task, queue=False)
        skip.click(ask("skip"), inputs=task, outputs=task, queue=False)
        generate.click(lambda: (gr.update(visible=True), []), outputs=[stop, gallery]).then(
            setter, inputs=inputs, outputs=task
        ).then(generator, inputs=task, outputs=[progress, preview, running, gallery]).then(
            lambda: gr.update(visible=False), outputs=stop
        )
        page = {
            "prompt": prompt, "negative": negative, "styles": styles, "performance": performance,
            "aspect": aspect, "number": number, "guidance": guidance, "sharpness": sharpness,
            "adm": adm, "swap": swap, "sampling": sampling, "base": base, "refiner": refiner,
            "switch": switch, "seed": seed, "loras": loras,
        }  # fmt: skip
        parts = {"canvas": canvas, "mask": mask, "dino": dino, "debug_dino": debug_dino}
        add_verbs(page, {**parts, "method": method}, recorder, image, plain)
        link = gr.HTML()
        if not args.disable_image_log:
            blocks.load(history, outputs=link, queue=False)
    return blocks


def end_with_parent():
    """End when whoever started this is gone, however that came about."""
    sys.stdin.buffer.read()
    os._exit(0)


def parser():
    """Return what is asked on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--temp-path", required=True)
    parser.add_argument("--step-seconds", type=float, default=0.02)
    parser.add_argument("--loras", type=int, default=5)
    parser.add_argument("--sharpness-label", default="Image Sharpness")
    parser.add_argument("--image-prompts", type=int, default=4)
    parser.add_argument("--enhance-tabs", type=int, default=3)
    parser.add_argument("--number-seed", action="store_true")
    parser.add_argument("--disable-metadata", action="store_true")
    parser.add_argument("--disable-image-log", action="store_true")
    parser.add_argument("--named-only", action="store_true")
    parser.add_argument("--no-editor", action="store_true")
    parser.add_argument("--auth", type=lambda text: tuple(text.split(":")))
    return parser


def main():
    """Serve until ended."""
    args = parser().parse_args()
    threading.Thread(target=end_with_parent, daemon=True).start()
    blocks = build(args, Recorder(Path(args.record)))
    blocks.queue().launch(
        server_name="127.0.0.1",
        server_port=args.port,
        allowed_paths=[args.temp_path],
        auth=args.auth,
        share=False,
        show_api=False,
        quiet=True,
    )


if __name__ == "__main__":
    main()
