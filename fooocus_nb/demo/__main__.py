"""Start the demo engine: ``python -m fooocus_nb.demo``."""

from __future__ import annotations

import asyncio
import errno
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from fooocus_nb.demo.args import parse_args
from fooocus_nb.demo.choices import PRESETS, VERSION
from fooocus_nb.demo.console import prepare, say
from fooocus_nb.demo.faults import Faults
from fooocus_nb.demo.files import Files
from fooocus_nb.demo.functions import Functions
from fooocus_nb.demo.page import Page
from fooocus_nb.demo.server import MAX_BYTES, make_application
from fooocus_nb.demo.worker import Worker

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Iterator

FIRST_PORT = 7865
LAST_PORT = 7964
_TAKEN = {errno.EADDRINUSE, errno.EACCES, 10048}


def main(argv: list[str]) -> None:
    """Run the demo engine until it is told to end.

    Parameters
    ----------
    argv : list of str
        The command line without the program's name.
    """
    args = parse_args(argv)
    prepare()
    faults = Faults(args.fault)
    say(f"[System ARGV] {['launch.py', *argv]}")
    say(f"Python {' '.join(sys.version.split())}")
    say(f"Fooocus version: {VERSION}")
    files = _make_files(args)
    faults.while_starting()
    say("Skipped model download.")
    say("Device: demo, which draws pictures without AI")
    if args.preset:
        say(f"{'Loaded' if args.preset in PRESETS else 'Failed to load'} preset: {args.preset}")
    try:
        asyncio.run(_serve(args, files, faults))
    except RuntimeError:
        if "http-dead" not in faults:
            raise
        threading.Event().wait()  # the server has died, the process has not


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


def _missing(args: argparse.Namespace) -> Iterator[str]:
    """Yield the components that the flags take away."""
    if args.disable_metadata:
        yield from ("save_metadata", "metadata_scheme")
    if args.disable_image_log:
        yield "save_final_only"
    if args.disable_preset_selection:
        yield "preset"


def _bind(args: argparse.Namespace, faults: Faults) -> tuple[list[socket.socket], int]:
    first, last = (args.port, args.port) if args.port else (FIRST_PORT, LAST_PORT)
    for port in range(first, last + 1):
        try:
            sockets = [] if "port-taken" in faults else bind_sockets(port, args.listen)
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
    page = Page(args.preset or "", _missing(args))
    application = make_application(Functions(page, worker, files), faults)
    server = HTTPServer(application, max_buffer_size=MAX_BYTES, max_body_size=MAX_BYTES)
    server.add_sockets(sockets)
    say(f"Running on local URL:  http://{args.listen}:{port}\n")
    say("To create a public link, set `share=True` in `launch()`.")
    if "never-ready" not in faults:
        worker.start()
        host = "localhost" if args.listen == "0.0.0.0" else args.listen  # noqa: S104 - compared
        address = f"http://{host}:{port}/ or {args.listen}:{port}"
        say(f"App started successful. Use the app with {address}")
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
