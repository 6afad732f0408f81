"""``fooocus-nb vary``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.cli.command import Command
from fooocus_nb.cli.generating import add_output_options, run_image_tasks

if TYPE_CHECKING:
    import argparse

NAMES = "{input}-varied"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("words", nargs="*", metavar="IMAGE", help="files, or folders of images")
    parser.add_argument(
        "--strength", default="subtle", help="subtle or strong (default: %(default)s)"
    )
    parser.add_argument("--prompt", default="", help="what they show")
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Generate."""
    from fooocus_nb.fooocus.requests.tasks import Vary

    return run_image_tasks(options, lambda path: Vary(path, options.strength), names=NAMES)


COMMAND = Command(
    "generate images anew, a little different or much",
    "Generates images anew. Of a folder all images in it are taken. Run again with the same -o, it "
    "goes on where it was. The paths of the images are printed, one a line.",
    add_options,
    run,
    takes_parameters=True,
)
