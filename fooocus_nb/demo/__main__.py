"""Start the demo engine, ``python -m fooocus_nb.demo``, with flags of Fooocus and of its own."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from fooocus_nb.demo import inputs
from fooocus_nb.demo.console import prepare, say
from fooocus_nb.demo.differences import VARIABLE
from fooocus_nb.demo.faults import FAULTS, Faults, Moment, is_fault
from fooocus_nb.demo.files import Files
from fooocus_nb.demo.functions import Functions
from fooocus_nb.demo.page import PRESETS, REMOVED_BY_FLAG, VERSION, Page
from fooocus_nb.demo.server import MAX_BYTES, make_application
from fooocus_nb.demo.worker import Worker

if TYPE_CHECKING:
    import socket

FIRST_PORT = 7865
LAST_PORT = 7964
#: 10048 is Windows's own number for an address in use.
_TAKEN = {errno.EADDRINUSE, errno.EACCES, 10048}
#: Seconds for one sampling step; wins over ``--demo-speed``. Tests set it to 0.
STEP_SECONDS_VARIABLE = "FOOOCUS_DEMO_STEP_SECONDS"
#: With 30 steps an image takes a little over a second, so that there is something to watch.
STEP_SECONDS = 0.036

# Flags of Fooocus that mean nothing here and are accepted all the same.
_SWITCHES = (
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
_SETTINGS = (
    "cache-path external-working-path gpu-device-id hf-mirror language preview-option theme "
    "web-upload-size"
)
_OPTIONAL_SETTINGS = "always-cpu directml disable-header-check"


def main(argv: list[str]) -> None:
    """Run the demo engine until it is terminated."""
    args = parse_args(argv)
    prepare()
    faults = Faults(args.fault, os.environ.get(VARIABLE, ""))
    say(f"[System ARGV] {['launch.py', *argv]}")
    say(f"Python {' '.join(sys.version.split())}")
    differences = faults.differences
    inputs.change_texts(differences.words, differences.moods)
    say(f"Fooocus version: {differences.version or VERSION}")
    files = _make_files(args)
    faults.strike(Moment.START)
    say("Skipped model download.")
    for line in differences.lines or ("Device: demo, which draws images without AI",):
        say(line)
    if args.preset:
        say(f"{'Loaded' if args.preset in PRESETS else 'Failed to load'} preset: {args.preset}")
    try:
        asyncio.run(_serve(args, files, faults))
    except RuntimeError:
        if not faults.server_is_dead:
            raise
        threading.Event().wait()  # the server has died, the process has not


# -- the command line -------------------------------------------------------------------------


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line as Fooocus would; an unknown flag ends the program with code 2."""
    args = _make_parser().parse_args(argv)
    given = os.environ.get(STEP_SECONDS_VARIABLE)
    args.step_seconds = float(given) if given else STEP_SECONDS / args.demo_speed
    return args


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fooocus_nb.demo",
        allow_abbrev=False,
        description="A stand-in for Fooocus that draws images without AI.",
    )
    parser.add_argument("--port", type=int, help="by default the next free one from 7865")
    parser.add_argument("--listen", nargs="?", const="0.0.0.0", default="127.0.0.1")  # noqa: S104
    parser.add_argument("--temp-path", help="images of earlier runs in it are deleted")
    parser.add_argument("--output-path", help="by default the folder outputs in the temp path")
    parser.add_argument("--preset", help="what the page begins with")
    for name in REMOVED_BY_FLAG:
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
    for name in _SWITCHES.split():
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    for name in _SETTINGS.split():
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    for name in _OPTIONAL_SETTINGS.split():
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
        help="misbehave: " + "; ".join(f"{name}: {fault.text}" for name, fault in FAULTS.items()),
    )
    return parser


def _fault(text: str) -> str:
    if not is_fault(text):
        msg = f"there is no fault {text!r}; there are {', '.join(FAULTS)}"
        raise argparse.ArgumentTypeError(msg)
    return text


def _speed(text: str) -> float:
    speed = float(text)
    if speed <= 0:
        msg = "the speed is a number above 0"
        raise argparse.ArgumentTypeError(msg)
    return speed


# -- what it starts ---------------------------------------------------------------------------


def _make_files(args: argparse.Namespace) -> Files:
    temp = Path(args.temp_path or Path(tempfile.gettempdir()) / "fooocus-nb-demo").absolute()
    outputs = Path(args.output_path).absolute() if args.output_path else temp / "outputs"
    if args.output_path:
        say(f"Overriding config value path_outputs with {outputs}")
    files = Files(outputs, temp, image_log=not args.disable_image_log)
    say(f"Using temp path {temp}")
    say(f"[Cleanup] Attempting to delete content of temp dir {temp}")
    files.clean_temp()
    say("[Cleanup] Cleanup successful")
    return files


def _bind(args: argparse.Namespace, faults: Faults) -> tuple[list[socket.socket], int]:
    first, last = (args.port, args.port) if args.port else (FIRST_PORT, LAST_PORT)
    for port in range(first, last + 1):
        try:
            sockets = [] if faults.ports_are_taken else bind_sockets(port, args.listen)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            continue
        if sockets:
            return sockets, port
    msg = f"Cannot find empty port in range: {first}-{last}. Choose another one with --port."
    raise OSError(msg)


async def _serve(args: argparse.Namespace, files: Files, faults: Faults) -> None:
    sockets, port = _bind(args, faults)
    worker = Worker(files, faults, args.step_seconds)
    removed = [key for flag, keys in REMOVED_BY_FLAG.items() if getattr(args, flag) for key in keys]
    differences = faults.differences
    page = Page(args.preset or "", [*removed, *differences.without], differences.version)
    application = make_application(Functions(page, worker, files, differences.without), faults)
    server = HTTPServer(application, max_buffer_size=MAX_BYTES, max_body_size=MAX_BYTES)
    server.add_sockets(sockets)
    say(f"Running on local URL:  http://{args.listen}:{port}\n")
    say("To create a public link, set `share=True` in `launch()`.")
    if faults.worker_starts:
        worker.start()
        host = "localhost" if args.listen == "0.0.0.0" else args.listen  # noqa: S104 - compared
        address = f"http://{host}:{port}/ or {args.listen}:{port}"
        say(f"App started successful. Use the app with {address}")
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
