"""``--sweep NAME=VALUE,VALUE`` and ``--run DIR`` behind ``%fooocus``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from fooocus_nb.magics.variables import expand_option

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from fooocus_nb.options.generation import Parser

__all__ = ["add_sweep_options", "check_sweep", "cut_sweeps"]

_SWEEP = re.compile(r"(?:^|(?<=\s))--sweep(?:=|\s+)")
#: What ends the values: the next option. A number may be negative.
_NEXT = re.compile(r"\s+(?=--?[A-Za-z])")


def add_sweep_options(parser: Parser) -> None:
    """Add the options that make a sweep of a generation."""
    parser.add_argument(
        "--sweep", action="append", default=[], metavar="NAME=VALUE,VALUE",
        help='an axis: 3,5,7 or 1..4 or "a, b", "c"; may be given several times, with --run',
    )  # fmt: skip
    parser.add_argument(
        "--run", dest="run_folder", metavar="DIR", help="the folder of the run that a sweep makes"
    )
    parser.add_argument(
        "--mix", action="store_true", help="go on with another engine than made the run's cells so "
        "far; each manifest says which",
    )  # fmt: skip


def cut_sweeps(line: str, variables: Mapping[str, object]) -> tuple[str, list[str]]:
    """Return a line without its sweeps, and their texts, in which quotes and blanks count."""
    texts: list[str] = []
    while (found := _SWEEP.search(line)) is not None:
        end = _end(line, found.end())
        texts.append(_text(line[found.end() : end].strip(), variables))
        line = f"{line[: found.start()]} {line[end:]}"
    return line, texts


def _end(line: str, start: int) -> int:
    """Return where the values of a sweep end."""
    quote, fresh, index = "", True, start
    while index < len(line):
        sign = line[index]
        if sign == "\\":
            index += 2
            fresh = False
            continue
        if not quote and index > start and _NEXT.match(line, index):
            return index
        if quote:
            quote = "" if sign == quote else quote
        elif fresh and sign in "\"'":
            quote = sign
        fresh = not quote and (sign in ",=|" or (fresh and sign.isspace()))
        index += 1
    return len(line)


def _text(text: str, variables: Mapping[str, object]) -> str:
    # As in a shell, all of it may stand in quotes of its own.
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0] and "=" in text:
        text = text[1:-1]
    return expand_option("--sweep", text, variables)


def check_sweep(known: argparse.Namespace, texts: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the sweeps and the folder of a line, or raise what is wrong with them together."""
    sweeps = (*known.sweep, *texts)
    folder: str | None = known.run_folder
    if sweeps and not folder:
        msg = "%fooocus: --sweep needs --run DIR, the folder where its images and plan go."
        raise UsageError(msg)
    if folder and not sweeps:
        msg = (
            "%fooocus: --run belongs to --sweep. For single generations: %fooocus run open DIR "
            "makes all that follows part of a run."
        )
        raise UsageError(msg)
    if known.mix and not sweeps:
        msg = "%fooocus: --mix belongs to --sweep: its run goes on with another engine."
        raise UsageError(msg)
    if sweeps and known.repeat != 1:
        msg = "%fooocus: --sweep and --repeat exclude each other: give --sweep seed=1..4."
        raise UsageError(msg)
    return sweeps, folder or ""
