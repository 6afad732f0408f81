"""One generation parameter, and the table of all that a server has."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import data_table, wrap
from fooocus_nb.errors import ParameterError, UnknownParameter, nearest

if TYPE_CHECKING:
    from fooocus_nb.fooocus.schema.component import Component
    from fooocus_nb.fooocus.schema.difference import ParameterDiff

__all__ = ["Parameter", "ParameterTable", "make_parameter"]

#: Seeds run to 2^63 - 1, as Fooocus says.
MAX_SEED = 2**63 - 1

_TYPES = {
    "checkbox": "boolean",
    "checkboxgroup": "choices",
    "dropdown": "choice",
    "image": "image",
    "radio": "choice",
    "textbox": "text",
}
_SKETCHES = frozenset({"sketch", "color-sketch"})
#: What takes the place of such a sketch from Gradio 4 on.
_EDITORS = frozenset({"imageeditor", "imagemask", "sketchpad"})
_ALLOWED = {
    "boolean": "True, False",
    "image": "a picture",
    "mask image": "a picture, or a picture and its mask",
}
_MARKUP = re.compile(r"<[^>]*>")
_SIZE = re.compile(r"\d+x\d+")
_MODEL_FILE = re.compile(r"([^/\\]+)\.(?:safetensors|ckpt|pth|pt|bin)$", re.IGNORECASE)
#: How far from a whole number of steps a value may be, for want of exact fractions.
STEP_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Parameter:
    """What can be given for one input of the engine.

    Attributes
    ----------
    name : str
        What we call it.
    label : str
        What the web page calls it.
    type : str
        ``text``, ``integer``, ``number``, ``boolean``, ``choice``, ``choices`` (a list), ``image``,
        ``mask image`` (a picture and what is painted over it), ``seed``, or the server's own word
        for something else.
    default : object
        The server's default.
    choices : tuple of str or None
        What is allowed, as the server takes it.
    minimum, maximum, step : float or None
        The allowed range, ends included.
    aliases : tuple of str
        Shorter names.
    """

    name: str
    label: str
    type: str
    default: Any
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    aliases: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """The choices or the range, for people."""
        if self.type == "seed":
            return f"0 to {MAX_SEED}"
        if self.choices is not None:
            shown = [plain(choice) for choice in self.choices[:8]]
            more = len(self.choices) - len(shown)
            return ", ".join(shown) + (f", ... ({more} more)" if more > 0 else "")
        if self.minimum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        return _ALLOWED.get(self.type, "")

    @property
    def is_image(self) -> bool:
        """Whether it takes a picture."""
        return self.type in ("image", "mask image")

    def check(self, value: Any) -> Any:
        """Return `value` as the server takes it.

        Parameters
        ----------
        value : object
            What the user gave.

        Returns
        -------
        object
            The value to send.

        Raises
        ------
        ParameterError
            When its type, choice or range is wrong; with what is allowed and the nearest match.
        """
        match self.type:
            case "boolean":
                return self._check_boolean(value)
            case "integer" | "number":
                return self._check_number(value)
            case "choice":
                return self._check_choice(value)
            case "choices":
                return self._check_choices(value)
            case "seed":
                return str(self._check_seed(value))
            case "text":
                return self._check_text(value)
            case _:
                return value

    def _check_text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self._wrong(value, "text")
        try:
            value.encode()
        except UnicodeEncodeError:
            # Half a surrogate pair: JSON would carry it, but the server could not save it.
            raise self._wrong(value, "text that can be encoded") from None
        return value

    def _check_boolean(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self._wrong(value, "True or False")
        return value

    def _check_number(self, value: Any) -> float:
        wanted = "a whole number" if self.type == "integer" else "a number"
        if isinstance(value, bool) or not hasattr(value, "__float__") or isinstance(value, str):
            raise self._wrong(value, wanted)
        number = float(value)
        if not math.isfinite(number) or (self.type == "integer" and not number.is_integer()):
            raise self._wrong(value, wanted)
        if value != self.default:
            self._check_range(value, number, wanted)
        return int(number) if self.type == "integer" else number

    def _check_range(self, value: Any, number: float, wanted: str) -> None:
        low, high = self.minimum, self.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            limits = f" from {low:.15g}" if low is not None else ""
            limits += f" to {high:.15g}" if high is not None else ""
            raise self._wrong(value, wanted + limits)
        if not self.step:
            return
        steps = (number - (low or 0)) / self.step
        if abs(steps - round(steps)) > STEP_TOLERANCE:
            near = (low or 0) + round(steps) * self.step
            raise self._wrong(value, f"a multiple of {self.step:g}", f" Nearest is {near:.10g}.")

    def _check_seed(self, value: Any) -> int:
        wanted = f"a whole number from 0 to {MAX_SEED}"
        if isinstance(value, str) and re.fullmatch(r"\d{1,19}", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise self._wrong(value, wanted)
        seed = value.__index__()
        if not 0 <= seed <= MAX_SEED:
            raise self._wrong(value, wanted)
        return int(seed)

    def _check_choice(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self._wrong(value, "one of: " + self.allowed)
        choices = self.choices or ()
        if not choices and value != self.default:
            raise self._wrong(value, f"{self.default!r}: the server offers nothing else")
        if value in choices or value == self.default:
            return value
        by_plain = {plain(choice).casefold(): choice for choice in reversed(choices)}
        if (found := by_plain.get(plain(value).casefold())) is not None:
            return found
        size = plain(value).casefold()
        sized = [choice for choice in choices if plain(choice).split(" ")[0].casefold() == size]
        if _SIZE.fullmatch(size) and len(sized) == 1:
            return sized[0]
        # Metadata names models without folder and extension, as people do.
        stems = [choice for choice in choices if _stem(choice) == value.casefold()]
        if len(stems) == 1:
            return stems[0]
        hint = nearest(value, [plain(choice) for choice in choices])
        raise self._wrong(value, f"one of: {self.allowed}", hint)

    def _check_choices(self, value: Any) -> list[str]:
        if isinstance(value, str):
            value = [value]
        if not hasattr(value, "__iter__"):
            raise self._wrong(value, "a list of: " + self.allowed)
        return list(dict.fromkeys(self._check_choice(item) for item in value))

    def _wrong(self, value: Any, wanted: str, hint: str = "") -> ParameterError:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return ParameterError(f"{self.name}={shown} is not possible: it must be {wanted}.{hint}")


def _stem(choice: str) -> str:
    """Return the name of a model file without folder and extension; nothing for other choices."""
    found = _MODEL_FILE.search(choice)
    return found[1].casefold() if found else ""


def plain(text: str) -> str:
    """Return a choice as people write it: without markup, and with plain signs.

    Parameters
    ----------
    text : str
        Such as ``1152×896 <span style="color: grey;"> ∣ 9:7</span>``.

    Returns
    -------
    str
        Such as ``1152x896 | 9:7``.
    """
    text = _MARKUP.sub("", text).replace("×", "x").replace("∣", "|")
    text = re.sub(r"(?<=\d)\s*[*xX]\s*(?=\d)", "x", text)
    return " ".join(text.split())


def make_parameter(name: str, component: Component, aliases: tuple[str, ...]) -> Parameter:
    """Return the parameter that a component of the page stands for.

    Parameters
    ----------
    name : str
        Its name.
    component : Component
        What `/config` says of it.
    aliases : tuple of str
        Its shorter names.

    Returns
    -------
    Parameter
        With the server's own default, choices and range.
    """
    props = component.props
    choices = props.get("choices")
    kind = _TYPES.get(component.type, component.type)
    if component.type in ("number", "slider") and name != "image_seed":
        kind = _number_type(props)
    elif component.type == "dropdown" and props.get("multiselect"):
        kind = "choices"
    elif name == "image_seed":
        kind = "seed"
    elif component.type in _EDITORS or (
        component.type == "image" and props.get("tool") in _SKETCHES
    ):
        kind = "mask image"
    return Parameter(
        name=name,
        label=component.label,
        type=kind,
        default=_default(kind, props),
        choices=None if choices is None else component.choices,
        minimum=props.get("minimum"),
        maximum=props.get("maximum"),
        step=props.get("step"),
        aliases=aliases,
    )


def _number_type(props: Mapping[str, Any]) -> str:
    step = props.get("step")
    whole = step is not None and float(step).is_integer() and step
    return "integer" if whole and float(props.get("minimum") or 0).is_integer() else "number"


def _default(kind: str, props: Mapping[str, Any]) -> Any:
    """Return what the page would send if nobody touched the component."""
    if kind.endswith("image"):
        return None
    value = props.get("value")
    if value is not None:
        return value
    empty = {"boolean": False, "choices": [], "seed": "0", "text": ""}
    return props.get("minimum") if kind in ("integer", "number") else empty.get(kind)


class ParameterTable(Mapping[str, Parameter]):
    """All parameters of a server by name, in its own order; shows as a table.

    Short names such as ``seed`` are found, too; iterating yields the canonical ones.

    Parameters
    ----------
    parameters : iterable of Parameter
        The parameters.
    title : str
        What the table is headed with.
    """

    def __init__(self, parameters: Mapping[str, Parameter], title: str = "") -> None:
        self._parameters = dict(parameters)
        self._title = title

    def __getitem__(self, name: str) -> Parameter:
        if name in self._parameters:
            return self._parameters[name]
        names = {alias: item for item in self.values() for alias in item.aliases}
        if name in names:
            return names[name]
        msg = f"There is no parameter {name!r}.{nearest(str(name), [*self, *names])}"
        raise UnknownParameter(msg)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __len__(self) -> int:
        return len(self._parameters)

    def filter(self, text: str) -> ParameterTable:
        """Return the parameters whose name or label contains `text`.

        Parameters
        ----------
        text : str
            In any case.

        Returns
        -------
        ParameterTable
            A smaller table.
        """
        wanted = text.casefold()
        found = {
            name: parameter
            for name, parameter in self._parameters.items()
            if any(
                wanted in word.casefold() for word in (name, parameter.label, *parameter.aliases)
            )
        }
        return ParameterTable(found, self._title)

    def changed(self, parameters: Mapping[str, Parameter]) -> ParameterTable:
        """Return the same table with some parameters in the place of their old selves.

        Parameters
        ----------
        parameters : mapping
            By name; others than are there are left out.

        Returns
        -------
        ParameterTable
        """
        known = {name: item for name, item in parameters.items() if name in self._parameters}
        return ParameterTable({**self._parameters, **known}, self._title)

    def diff(self, other: ParameterTable) -> ParameterDiff:
        """Compare with the parameters of another server.

        Parameters
        ----------
        other : ParameterTable
            The other server's.

        Returns
        -------
        ParameterDiff
            For each parameter that differs, ours and theirs; shows as a table.
        """
        from fooocus_nb.fooocus.schema.difference import ParameterDiff

        return ParameterDiff(self, other)

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                ", ".join((parameter.name, *parameter.aliases)),
                parameter.label,
                parameter.type,
                _shorten(parameter.default),
                parameter.allowed,
            )
            for parameter in self._parameters.values()
        ]

    def __repr__(self) -> str:
        rows = [_HEADINGS, *self._rows()]
        widths = [min(max(len(row[i]) for row in rows), 40) for i in range(len(_HEADINGS))]
        return "\n".join(
            "  ".join(cell[:width].ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        )

    def _repr_html_(self) -> str:
        title = self._title or "Parameters"
        return wrap(data_table(_HEADINGS, self._rows(), title=title, height="26em"), label=title)


_HEADINGS = ("name", "label", "type", "default", "choices or range")


def _shorten(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return plain(value)
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
