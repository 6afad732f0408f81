"""The app of `gradio3_app`, served by a Gradio of today.

Runs in an environment of its own, with Gradio 5 or 6. What changed between the versions is here:
pictures are uploaded files, sketches are an editor with layers. With ``--named-only`` it offers
nothing but one function with a name, as some forks do. With ``--no-editor`` sketches are plain
images: the page of Gradio 4.8 sends nothing that has an editor which was never seen among it.
"""

import sys
import threading
import uuid
from pathlib import Path

import gradio as gr
import gradio3_app
from PIL import Image


def make_plain_image(label="Image", tool=None, **more):
    return gr.Image(label=label, sources=["upload"], **{"type": "numpy", **more})


def make_image(label="Image", tool=None, **more):
    if tool == "sketch":
        return gr.ImageEditor(label=label, sources=["upload"], type="numpy", **more)
    return make_plain_image(label, **more)


def build_named_only(args, recorder):
    """Return an app without a page, as a tool for others."""
    temp = Path(args.temp_path)

    def generate_image(prompt: str, width: int = 64, sharpness: float = 2.0) -> str:
        recorder.write(call="generate_image", values=[prompt, width, sharpness])
        if prompt == "fail":
            raise gr.Error("the worker broke")
        path = temp / f"{uuid.uuid4().hex}.png"
        Image.new("RGB", (width, 8), (9, 9, 9)).save(path)
        return {"path": str(path), "meta": {"_type": "gradio.FileData"}}

    with gr.Blocks(title="RuinedFooocus 2.3.1") as blocks:
        gr.api(generate_image, api_name="generate_image")
    return blocks


def main():
    """Serve until ended."""
    args = gradio3_app.parser().parse_args()
    threading.Thread(target=gradio3_app.end_with_parent, daemon=True).start()
    gradio3_app.make_image = make_plain_image if args.no_editor else make_image
    build = build_named_only if args.named_only else gradio3_app.build
    blocks = build(args, gradio3_app.Recorder(Path(args.record))).queue()
    # Gradio 6 looks into its queue every millisecond, which takes a tenth of a core; 5 as set here.
    blocks._queue.sleep_when_free = 0.05
    blocks.launch(
        server_name="127.0.0.1",
        server_port=args.port,
        allowed_paths=[args.temp_path],
        auth=args.auth,
        share=False,
        quiet=True,
    )


if __name__ == "__main__":
    sys.exit(main())
