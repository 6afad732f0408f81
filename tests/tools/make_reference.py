"""Write docs/reference.md from the code: every parameter and every verb.

    python tests/tools/make_reference.py          writes it
    python tests/tools/make_reference.py --check  fails where it is not current

The parameters are those of the demo engine, which has the page of Fooocus 2.5.5; since which
version there is one is known to `fooocus_nb.fooocus.schema._template`; the verbs are found by
looking at `Engine` and at the front door.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import fooocus_nb
from fooocus_nb.demo.page import Page
from fooocus_nb.engine.core import Engine
from fooocus_nb.fooocus.schema import Schema
from fooocus_nb.fooocus.schema._template import TEMPLATE, Group, Input
from fooocus_nb.fooocus.schema.parameters import plain

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"
COMMAND = "python tests/tools/make_reference.py"
OLDEST = (2, 1)
#: Choices that are files of one machine.
FILES = re.compile(r"\.(safetensors|ckpt|pth|bin)$")
ALL_CHOICES = 12

HEAD = f"""# Reference

Made by `{COMMAND}`; change the code, not this page.

## Parameters

All of these go into `engine.generate(prompt, name=value, ...)` and into a cell as
`--set NAME=VALUE`. Defaults, choices and ranges are those of Fooocus 2.5.5 as it comes. What counts
is the server that you use: `engine.parameters` and `%fooocus params` show its own, and
`engine.parameters.diff(other.parameters)` shows how two servers differ.

An `N` in a name stands for a number from 1: `lora_1_model`, `ip_2_image`, `enhance_3_prompt`.
Some words mean several of them: `loras=[("name", 0.8), ...]` fills all slots for LoRAs,
`image_prompts=[ImagePrompt(image), ...]` those for image prompts and
`enhance=[Enhance(detect="face")]` the tabs of enhancements; `task=` is what to do with an image:
an `Upscale`, `Vary`, `Inpaint`, `Outpaint` or `EnhanceImage`. An image is a path, bytes, a Pillow
image, a NumPy array or an `Image` of ours; a web address only where `engine.allow_urls` is set.
"""


def main() -> int:
    """Write the page or check it, and return the exit status."""
    page = reference()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8", newline="\n")
    return 0


def reference() -> str:
    """Return the page."""
    parts = [HEAD, table(("name", "type", "default", "choices or range", "since", "label")), ""]
    parts[1] += "\n" + "\n".join(parameter_rows())
    parts += ["## Verbs", "", "What an `Engine` can do.", "", *members(Engine), ""]
    parts += ["## Public names", "", "What `import fooocus_nb` offers.", "", *front_door(), ""]
    return "\n".join(parts)


# -- parameters -------------------------------------------------------------------------------


def parameter_rows() -> list[str]:
    """Return a row for each parameter, and one for all that are alike but for their number."""
    eras, rows = versions(), {}
    for name, parameter in Schema.from_config(Page().config).parameters.items():
        general = re.sub(r"^(lora|ip|enhance)_\d+_", r"\1_N_", name)
        if general in rows:
            continue
        names = " or ".join(f"`{item}`" for item in (general, *parameter.aliases))
        label = parameter.label
        if "_N_" in general:
            label = re.sub(r"\d+$", "N", label)
        cells = (
            names,
            parameter.type,
            default(parameter),
            allowed(parameter),
            eras.get(general, ""),
            label,
        )
        rows[general] = row(cells)
    return list(rows.values())


def versions() -> dict[str, str]:
    """Return since which version each input is there, and until which."""
    found: dict[str, list[Input]] = {}
    for item in TEMPLATE:
        if isinstance(item, Group):
            prefix = f"{item.name}_N_" if item.name else ""
            for entry in item.entries:
                found.setdefault(prefix + entry.name, []).append(entry)
        else:
            found.setdefault(item.name, []).append(item)
    # The tabs of enhancements came with what is around them.
    enhance = era(found["enhance_checkbox"])
    return {
        name: enhance if name.startswith("enhance_N_") else era(entries)
        for name, entries in found.items()
    }


def era(entries: list[Input]) -> str:
    """Return the time of an input; one that only moved is in the vocabulary twice."""
    since = min(entry.since or OLDEST for entry in entries)
    until = max((entry.until or (99,) for entry in entries), default=(99,))
    text = ".".join(map(str, since))
    return text if until == (99,) else f"{text}, until {'.'.join(map(str, until))}"


def default(parameter: Any) -> str:
    """Return a default as one writes it."""
    value = parameter.default
    if value is None:
        return ""
    if isinstance(value, str):
        return code(plain(value))
    if isinstance(value, list):
        return ", ".join(code(plain(str(item))) for item in value) or "`[]`"
    return code(str(value))


def allowed(parameter: Any) -> str:
    """Return the choices or the range."""
    choices = parameter.choices
    if choices is None:
        return parameter.allowed
    names = [plain(choice) for choice in choices]
    if any(FILES.search(name) for name in names):
        return "the model files of the server"
    if len(names) > ALL_CHOICES:
        shown = ", ".join(code(name) for name in names[:3])
        return f"{shown} and {len(names) - 3} more"
    return ", ".join(code(name) for name in names)


# -- verbs ------------------------------------------------------------------------------------


def members(owner: type) -> list[str]:
    """Return what a class offers: methods first, then properties."""
    public = {name: getattr(owner, name) for name in dir(owner) if not name.startswith("_")}
    calls = [name for name, item in public.items() if callable(item)]
    rest = [name for name in public if name not in calls]
    lines = [table(("verb", "what it does"))]
    lines += [
        row((code(f"{name}{signature(public[name])}"), summary(public[name]))) for name in calls
    ]
    lines += ["", table(("property", "what it is"))]
    return [*lines, *(row((code(name), summary(public[name]))) for name in rest)]


def front_door() -> list[str]:
    """Return the public functions and classes of the package."""
    lines = [table(("name", "what it is"))]
    for name in fooocus_nb.__all__:
        item = getattr(fooocus_nb, name)
        if name.startswith("_") or name.endswith("_ipython_extension"):
            continue
        callable_here = inspect.isfunction(item) or dataclasses.is_dataclass(item)
        call = signature(item) if callable_here else ""
        lines.append(row((code(f"{name}{call}"), summary(item))))
    return lines


def signature(function: Any) -> str:
    """Return a signature, the same on every version of Python."""
    shown = []
    keyword_only = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            keyword_only = True
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            shown.append("*")
            keyword_only = True
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        text = stars.get(parameter.kind, "") + parameter.name
        # The package has its annotations as text, which is the same everywhere.
        if isinstance(parameter.annotation, str) and parameter.kind not in stars:
            text += f": {parameter.annotation}"
        if parameter.default is not parameter.empty:
            value = parameter.default
            plain_value = isinstance(value, (str, int, float, bool, tuple)) or value is None
            text += f" = {value!r}" if plain_value else " = ..."
        shown.append(text)
    return f"({', '.join(shown)})"


def summary(item: Any) -> str:
    """Return the first paragraph of a docstring, as one line of Markdown."""
    text = inspect.getdoc(item) or ""
    first = " ".join(text.partition("\n\n")[0].split())
    first = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", first)
    return first.replace("``", "`")


# -- Markdown ---------------------------------------------------------------------------------


def table(headings: tuple[str, ...]) -> str:
    """Return the head of a table."""
    return row(headings) + "\n" + row(("---",) * len(headings))


def row(cells: tuple[str, ...]) -> str:
    """Return one row; no cell can break out of it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def code(text: str) -> str:
    """Return text as code; an empty one as what stands for it in Python."""
    return f"`{text}`" if text else '`""`'


if __name__ == "__main__":
    sys.exit(main())
