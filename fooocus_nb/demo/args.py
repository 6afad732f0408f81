"""The demo engine's command line: Fooocus's own flags, and a few of its own."""

from __future__ import annotations

import argparse
import os

from fooocus_nb.demo.faults import FAULTS
from fooocus_nb.demo.words import words

__all__ = ["STEP_SECONDS_VARIABLE", "parse_args"]

#: Seconds for one sampling step; wins over ``--demo-speed``. Tests set it to 0.
STEP_SECONDS_VARIABLE = "FOOOCUS_DEMO_STEP_SECONDS"
#: With 30 steps an image takes a little over a second, so that there is something to watch.
STEP_SECONDS = 0.036

# Flags of Fooocus that mean nothing here and are taken all the same.
_SWITCHES = words(
    "all-in-fp16 all-in-fp32 always-download-new-model always-gpu always-high-vram always-low-vram "
    "always-no-vram always-normal-vram always-offload-from-vram async-cuda-allocation "
    "attention-pytorch attention-quad attention-split clip-in-fp16 clip-in-fp32 clip-in-fp8-e4m3fn "
    "clip-in-fp8-e5m2 debug-mode disable-analytics disable-async-cuda-allocation "
    "disable-attention-upcast disable-enhance-output-sorting disable-in-browser "
    "disable-ipex-hijack disable-offload-from-vram disable-preset-download disable-server-info "
    "disable-server-log disable-xformers enable-auto-describe-image in-browser "
    "is-windows-embedded-python multi-user pytorch-deterministic rebuild-hash-cache share "
    "unet-in-bf16 unet-in-fp16 unet-in-fp8-e4m3fn unet-in-fp8-e5m2 vae-in-bf16 vae-in-cpu "
    "vae-in-fp16 vae-in-fp32"
)
_SETTINGS = words(
    "cache-path external-working-path gpu-device-id hf-mirror language preview-option theme "
    "web-upload-size"
)
_OPTIONAL_SETTINGS = words("always-cpu directml disable-header-check")


def _fault(text: str) -> str:
    name = text.partition("=")[0]
    if name not in FAULTS:
        msg = f"there is no fault {text!r}; there are {', '.join(FAULTS)}"
        raise argparse.ArgumentTypeError(msg)
    return text


def _speed(text: str) -> float:
    speed = float(text)
    if speed <= 0:
        msg = "the speed is a number above 0"
        raise argparse.ArgumentTypeError(msg)
    return speed


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fooocus_nb.demo",
        allow_abbrev=False,
        description="A stand-in for Fooocus that draws pictures without AI.",
    )
    parser.add_argument("--port", type=int, help="by default the next free one from 7865")
    parser.add_argument("--listen", nargs="?", const="0.0.0.0", default="127.0.0.1")  # noqa: S104
    parser.add_argument("--temp-path", help="images of earlier runs in it are deleted")
    parser.add_argument("--output-path", help="by default the folder outputs in the temp path")
    parser.add_argument("--preset", help="what the page begins with")
    for name in ("metadata", "image-log", "preset-selection"):
        parser.add_argument(f"--disable-{name}", action="store_true")
    for name in _SWITCHES:
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    for name in _SETTINGS:
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    for name in _OPTIONAL_SETTINGS:
        parser.add_argument(f"--{name}", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument(
        "--demo-speed", type=_speed, default=1.0, metavar="FACTOR", help="2 is twice as fast"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        type=_fault,
        metavar="NAME[=ARGUMENT]",
        help="misbehave: " + "; ".join(f"{name}: {text}" for name, text in FAULTS.items()),
    )
    return parser


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line as Fooocus would; an unknown flag ends the program with code 2.

    Parameters
    ----------
    argv : list of str
        Without the program's name.

    Returns
    -------
    argparse.Namespace
        The settings; ``step_seconds`` says how long a sampling step takes.
    """
    args = _make_parser().parse_args(argv)
    given = os.environ.get(STEP_SECONDS_VARIABLE)
    args.step_seconds = float(given) if given else STEP_SECONDS / args.demo_speed
    return args
