"""A row of the table, what it may be, and the machine and versions that it is measured with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PACKAGES = ("fooocus-nb", "ipykernel", "ipywidgets", "anywidget", "gradio_client", "distributed")
HEAD = ("", "ours", "beside", "theirs", "ratio", "bound")


@dataclass(frozen=True)
class Bound:
    """What a row's figure may be: at the most, or with ``least`` at the least.

    It is the bound of our figure, of its ratio to the baseline's, or of the difference of the two.
    """

    of: Literal["ours", "ratio", "difference"]
    value: float
    least: bool = False

    def holds(self, ours: float, theirs: float | None) -> bool:
        """Return whether it holds; without a baseline's figure only one of ours can fail."""
        if self.of == "ours":
            found = ours
        elif theirs is None:
            return True
        else:
            found = ours / theirs if self.of == "ratio" else ours - theirs
        return found >= self.value if self.least else found <= self.value

    def text(self, unit: str) -> str:
        """Return it as the table shows it."""
        sign = "≥" if self.least else "≤"
        if self.of == "ratio":
            return f"{sign} {self.value:g} times"
        plus = "+" if self.of == "difference" else ""
        return f"{sign} {plus}{number(self.value)} {unit}".rstrip()


@dataclass(frozen=True)
class Row:
    """One figure beside its baseline of the same run.

    ``theirs`` is None where the baseline never ends, or can't do it at all.
    """

    what: str
    ours: float
    unit: str
    beside: str
    theirs: float | None
    bound: Bound | None = None

    @property
    def ok(self) -> bool:
        """Whether its bound holds."""
        return self.bound is None or self.bound.holds(self.ours, self.theirs)

    def cells(self) -> tuple[str, ...]:
        """Return what the table shows."""
        theirs = "never" if self.theirs is None else f"{number(self.theirs)} {self.unit}"
        ratio = f"{self.ours / self.theirs:.2g}" if self.theirs else ""
        bound = "" if self.bound is None else self.bound.text(self.unit)
        missed = "" if self.ok else " **missed**"
        ours = f"{number(self.ours)} {self.unit}"
        return self.what, ours.strip(), self.beside, theirs.strip(), ratio, bound + missed


def number(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def markdown(rows: Iterable[Row]) -> str:
    """Return the table."""
    lines = [_line(HEAD), "| --- | ---: | --- | ---: | ---: | --- |"]
    return "\n".join([*lines, *(_line(row.cells()) for row in rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def circumstances() -> str:
    """Return machine and versions in a sentence each; nothing that names the machine."""
    memory = psutil.virtual_memory().total / 2**30
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB of memory, "
        f"{platform.system()}{load}.\n"
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip() not in ("", "unknown"):
                return value.strip()
    return platform.processor() or platform.machine()
