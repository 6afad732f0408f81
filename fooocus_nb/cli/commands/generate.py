"""``fooocus-nb generate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.cli.command import Command, UsageError
from fooocus_nb.cli.generating import Task, add_output_options, run_tasks
from fooocus_nb.errors import nearest

if TYPE_CHECKING:
    import argparse

#: In the order of the list, also where names are sorted.
NAMES = "{number:05}-{prompt:.40}"
STANDARD_INPUT = "-"
#: A list of prompts is read into the memory: this is some hundred thousand of them.
MAX_BYTES = 64 << 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("words", nargs="*", metavar="PROMPT", help="what to draw, in quotes")
    parser.add_argument(
        "--prompts",
        metavar="FILE",
        help="one prompt a line; - is standard input, which is also read where there is no PROMPT",
    )
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Generate."""
    if len(options.words) > 1:
        msg = f"one PROMPT, please, in quotes: '{' '.join(options.words)}'"
        raise UsageError(msg)
    word = options.words[0] if options.words else None
    if options.prompts and word is not None:
        msg = "give a PROMPT or --prompts, not both"
        raise UsageError(msg)
    source = options.prompts or (word if word == STANDARD_INPUT else None)
    if word is not None and source is None:
        if not word.strip():
            msg = "the PROMPT is empty"
            raise UsageError(msg)
        return run_tasks(options, [_task(word)], many=False, names=NAMES)
    prompts = _prompts(source, options)
    return run_tasks(options, [_task(line) for line in prompts], many=True, names=NAMES)


def _task(prompt: str) -> Task:
    return Task(prompt, {"prompt": prompt})


def _prompts(source: str | None, options: argparse.Namespace) -> list[str]:
    """Return the prompts in a file or in standard input, without empty lines."""
    if source is None and (sys.stdin is None or sys.stdin.isatty()):
        msg = "the PROMPT is missing. Give one in quotes, --prompts FILE, or a list through a pipe"
        for option, text in options.others:
            if text is not None:
                hint = nearest(option, options.own_options)
                msg += f". {option} was taken for a parameter with the value {text!r}.{hint}"
        raise UsageError(msg)
    if source is None or source == STANDARD_INPUT:
        data, where = sys.stdin.buffer.read(MAX_BYTES + 1), "standard input"
    else:
        where = source
        try:
            with Path(source).expanduser().open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            msg = f"--prompts {source}: {reason}"
            raise UsageError(msg) from None
    if len(data) > MAX_BYTES:
        msg = f"{where} has more than {MAX_BYTES >> 20} MB of prompts"
        raise UsageError(msg)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        msg = f"{where} is no text in UTF-8: see line {line}"
        raise UsageError(msg) from None
    # Not splitlines(): a prompt may hold a form feed, or a line separator of Unicode.
    lines = [line.strip() for line in text.replace("\r\n", "\n").split("\n")]
    prompts = [line for line in lines if line]
    if not prompts:
        msg = f"{where} holds no prompt"
        raise UsageError(msg)
    return prompts


COMMAND = Command(
    "generate images from a prompt, or from a list of prompts",
    "Generates images. A list of prompts, one a line, comes from --prompts FILE or through a pipe, "
    "and gives one image of each, unless -n says another number; run again with the same -o, it "
    "goes on where it was, and generates nothing twice. The paths of the images are printed, one a "
    "line; progress goes to standard error.",
    add_options,
    run,
    takes_parameters=True,
)
