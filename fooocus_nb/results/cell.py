"""Write the cell that generates an image again, from its parameters."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.schema.parameters import canonical_name, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["cell_of"]

#: Parameters with an option of their own; all others go through ``--set``.
_OPTIONS = {
    "image_number": "-n",
    "image_seed": "--seed",
    "negative_prompt": "--negative",
    "performance_selection": "--performance",
    "aspect_ratios_selection": "--aspect",
    "overwrite_step": "--steps",
}
_STYLES = "style_selections"
_FIRST = ("prompt", *_OPTIONS, _STYLES)
#: Characters that end a line, as for str.splitlines().
_BREAKS = re.compile("[\n\r\x00\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_IMAGE_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_PLAIN_WORD = re.compile(r"[\w.][\w.:/,+-]*", re.ASCII)


def cell_of(
    parameters: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
    engine: str = "",
) -> str:
    """Return the ``%%fooocus`` cell for these parameters, or one in Python where it takes that."""
    wanted = _wanted(parameters, defaults or {})
    prompt = wanted.pop("prompt", "")
    lost = [name for name, value in wanted.items() if _is_lost(value)]
    words = _options_of(wanted) if isinstance(prompt, str) and not lost else None
    if words is None or not _fits_a_body(prompt) or any(map(_BREAKS.search, words)):
        return _python(prompt, wanted, lost, engine)
    named = _option("--name", engine) if engine else []
    return f"{' '.join(['%%fooocus', *named, *words])}\n{prompt}"


def _wanted(parameters: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are not defaults, by canonical name, common names first."""
    known = {canonical_name(name): value for name, value in parameters.items()}
    names = [name for name in _FIRST if name in known]
    names += [name for name in known if name not in _FIRST]
    return {
        name: known[name]
        for name in names
        if known[name] is not None
        and (name in ("prompt", "image_seed") or not _same(known[name], defaults.get(name)))
    }


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):
        return value is default
    if isinstance(value, str) and isinstance(default, str):
        # The page's choices may contain markup, which makes no difference.
        return value == default or ("<" in default and plain(value) == plain(default))
    if isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)):
        return list(value) == list(default)
    return bool(value == default)


def _is_lost(value: Any) -> bool:
    """Whether a value is only the hash of an image in memory, which no record holds."""
    if isinstance(value, dict):  # an image and its mask
        return any(map(_is_lost, value.values()))
    return isinstance(value, str) and _IMAGE_HASH.fullmatch(value) is not None


def _fits_a_body(prompt: str) -> bool:
    return bool(prompt.strip()) and not _CONTROL.search(prompt) and not prompt.endswith("\n")


def _options_of(wanted: Mapping[str, Any]) -> list[str] | None:
    """Return the options of the first line; None where a value cannot be written there."""
    words: list[str] = []
    for name, value in wanted.items():
        if name == _STYLES and value and all(isinstance(style, str) for style in value):
            for style in value:
                words += _option("--style", style)
        elif name in _OPTIONS:
            text = _text(value)
            # The page's sizes contain markup, which nobody wants to read or write.
            text = plain(text) if name == "aspect_ratios_selection" else text
            words += _option(_OPTIONS[name], text)
        elif name.isidentifier():
            text = _text(value)
            words += ["--set", f"{name}={text}" if _is_word(text) else _quoted(f"{name}={text}")]
        else:
            return None
    return words


def _option(option: str, text: str) -> list[str]:
    if text.startswith("-"):  # or it would be taken for an option
        return [f"{option}={_quoted(text)}" if option.startswith("--") else option + _quoted(text)]
    return [option, text if _is_word(text) else _quoted(text)]


def _is_word(text: str) -> bool:
    return _PLAIN_WORD.fullmatch(text) is not None


def _quoted(text: str) -> str:
    # Windows reads the single quotes of shlex.quote as well; double quotes are easier to read
    # where the text allows them.
    if "'" in text and not re.search(r'["\\]', text):
        return f'"{text}"'
    return shlex.quote(text)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)


def _python(prompt: Any, wanted: Mapping[str, Any], lost: Iterable[str], engine: str) -> str:
    """Return a cell in Python that calls ``generate``."""
    missing = set(lost)
    who = f"get({engine!r})" if engine else "current()"
    lines = ["import fooocus_nb", "", f"fooocus_nb.{who}.generate("]
    lines.append(f"    {str(prompt)!r},")
    for name, value in wanted.items():
        if name in missing:
            lines.append(f"    # {name} was an image in memory: pass it again")
        elif name.isidentifier():
            lines.append(f"    {name}={_literal(value)},")
    return "\n".join([*lines, ")"])


def _literal(value: Any) -> str:
    if isinstance(value, (str, int, float, bool, list, tuple, dict)):
        return repr(value)
    return repr(str(value))
