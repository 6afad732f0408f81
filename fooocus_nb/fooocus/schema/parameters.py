"""The parameters of a generation: one, the table of a server's, their difference, their choices."""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import data_table, escape, wrap
from fooocus_nb.errors import ParameterError, UnknownParameter, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fooocus_nb.fooocus.schema.config import Component

__all__ = [
    "ALIASES",
    "MAX_SEED",
    "Catalogue",
    "Parameter",
    "ParameterDiff",
    "ParameterTable",
    "aliases_of",
    "canonical_name",
    "make_parameter",
    "nearest_name",
    "plain",
]

#: Short names for the longest of the web app's own ones; both work everywhere.
ALIASES: Mapping[str, str] = {
    "aspect_ratio": "aspect_ratios_selection",
    "height": "overwrite_height",
    "image_grid": "generate_image_grid",
    "metadata": "save_metadata_to_images",
    "performance": "performance_selection",
    "sampler": "sampler_name",
    "scheduler": "scheduler_name",
    "seed": "image_seed",
    "steps": "overwrite_step",
    "styles": "style_selections",
    "vae": "vae_name",
    "width": "overwrite_width",
}
#: What other programs call a parameter: no name here, but what somebody means who writes it.
_ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "aspect_ratio": ("ar", "ratio"),
    "base_model": ("checkpoint", "ckpt", "model"),
    "black_out_nsfw": ("nsfw", "safety_checker"),
    "guidance_scale": ("cfg", "cfg_scale", "guidance", "scale"),
    "height": ("h",),
    "image_number": (
        "batch", "batch_count", "batch_size", "count", "n", "num", "num_images",
        "num_images_per_prompt", "number",
    ),
    "negative_prompt": ("n_prompt", "neg", "neg_prompt", "negative", "no"),
    "output_format": ("ext", "format"),
    "performance": ("quality", "speed"),
    "refiner_model": ("refiner",),
    "steps": ("iterations", "num_inference_steps", "num_steps", "sampling_steps", "step"),
    "width": ("w",),
}  # fmt: skip
#: How alike two names are of which one is a slip of the pen, and of which one may be meant.
_NEAR = 0.85
_ALIKE = 0.7
_MEANT = {word: name for name, words in _ELSEWHERE.items() for word in words}
#: Seeds run to 2^63 - 1, as Fooocus says.
MAX_SEED = 2**63 - 1
#: Where the page has a number for it, Fooocus (before 2.1.733) counts from 0 again behind this one.
_MAX_NUMBER_SEED = 2**30 - 1

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
    "image": "an image",
    "mask image": "an image, or an image and its mask",
}
_MARKUP = re.compile(r"<[^>]*>")
_SIZE = re.compile(r"\d+x\d+")
_MODEL_FILE = re.compile(r"([^/\\]+)\.(?:safetensors|ckpt|pth|pt|bin)$", re.IGNORECASE)
#: How far from a whole number of steps a value may be, because fractions are not exact.
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
        ``mask image`` (an image and what is painted over it), ``seed``, or the server's own word
        for something else.
    default : object
        The server's default.
    choices : tuple of str or None
        What is allowed, as the server takes it.
    minimum, maximum, step : float or None
        The allowed range, ends included.
    aliases : tuple of str
        Shorter names.
    doubt : str
        Why the server's page does not tell what this input is; empty where it does. Such an input
        is named after its label, stays at the server's default and cannot be given.
    candidates : tuple of str
        What a doubtful input may be; ``...`` stands for a number.
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
    doubt: str = ""
    candidates: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """The choices or the range, for people."""
        if self.doubt:
            return f"only its default: it {self.doubt}"
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
    def _takes_number(self) -> bool:
        """Whether the server takes a number for it: a seed is a text on most pages."""
        return isinstance(self.default, (int, float)) and not isinstance(self.default, bool)

    @property
    def largest_drawn(self) -> int:
        """The largest seed that we draw: the server uses each that we draw as it is."""
        return _MAX_NUMBER_SEED if self._takes_number else MAX_SEED

    @property
    def is_image(self) -> bool:
        """Whether it takes an image."""
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
        if self.doubt and value != self.default:
            raise self._wrong(value, f"the server's default, because it {self.doubt}")
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
                seed = self._check_seed(value)
                return seed if self._takes_number else str(seed)
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
        allowed = "a whole number" if self.type == "integer" else "a number"
        if isinstance(value, bool) or not hasattr(value, "__float__") or isinstance(value, str):
            raise self._wrong(value, allowed)
        number = float(value)
        if not math.isfinite(number) or (self.type == "integer" and not number.is_integer()):
            raise self._wrong(value, allowed)
        if value != self.default:
            self._check_range(value, number, allowed)
        return int(number) if self.type == "integer" else number

    def _check_range(self, value: Any, number: float, allowed: str) -> None:
        low, high = self.minimum, self.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            limits = f" from {low:.15g}" if low is not None else ""
            limits += f" to {high:.15g}" if high is not None else ""
            raise self._wrong(value, allowed + limits)
        if not self.step:
            return
        steps = (number - (low or 0)) / self.step
        if abs(steps - round(steps)) > STEP_TOLERANCE:
            near = (low or 0) + round(steps) * self.step
            raise self._wrong(value, f"a multiple of {self.step:g}", f" Nearest is {near:.10g}.")

    def _check_seed(self, value: Any) -> int:
        allowed = f"a whole number from 0 to {MAX_SEED}"
        if isinstance(value, str) and re.fullmatch(r"\d{1,19}", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise self._wrong(value, allowed)
        seed = value.__index__()
        if not 0 <= seed <= MAX_SEED:
            raise self._wrong(value, allowed)
        return int(seed)

    def _check_choice(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self._wrong(value, "one of: " + self.allowed)
        choices = self.choices or ()
        if not choices and value != self.default:
            raise self._wrong(value, f"{self.default!r}: the server offers nothing else")
        if value in choices or value == self.default:
            return value
        by_plain = {_folded(choice): choice for choice in reversed(choices)}
        if (found := by_plain.get(_folded(value))) is not None:
            return found
        size = plain(value).casefold()
        sized = [choice for choice in choices if plain(choice).split(" ")[0].casefold() == size]
        if _SIZE.fullmatch(size) and len(sized) == 1:
            return sized[0]
        # Metadata names models without folder and extension, as people do.
        stems = [choice for choice in choices if _stem(choice) == value.casefold()]
        if len(stems) == 1:
            return stems[0]
        if stems:
            alike = ", ".join(stems[:8])
            raise self._wrong(value, f"one of those with this name: {alike}")
        hint = nearest(value, [plain(choice) for choice in choices])
        raise self._wrong(value, f"one of: {self.allowed}", hint)

    def _check_choices(self, value: Any) -> list[str]:
        if isinstance(value, str):
            value = [value]
        if not hasattr(value, "__iter__"):
            raise self._wrong(value, "a list of: " + self.allowed)
        # One may be there twice: Fooocus may draw a random style that is chosen already.
        return [self._check_choice(item) for item in value]

    def _wrong(self, value: Any, allowed: str, hint: str = "") -> ParameterError:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return ParameterError(f"{self.name}={shown} is not possible: it must be {allowed}.{hint}")


def _folded(choice: str) -> str:
    """Return a choice as spellings are compared; a log page of Windows has its backslashes."""
    return plain(choice).casefold().replace("\\", "/")


def _stem(choice: str) -> str:
    """Return the name of a model file without folder and extension; nothing for other choices."""
    found = _MODEL_FILE.search(choice)
    return found[1].casefold() if found else ""


def plain(text: str) -> str:
    """Return a choice as people write it: without markup, and with plain signs."""
    text = _MARKUP.sub("", text).replace("×", "x").replace("∣", "|")
    text = re.sub(r"(?<=\d)\s*[*xX]\s*(?=\d)", "x", text)
    return " ".join(text.split())


def nearest_name(word: str, names: Iterable[str]) -> str:
    """Return a hint that names what is most likely meant, or an empty string.

    `names` may be options, with dashes: what all of them have in common makes none of them alike.
    """
    by_key = {_spelt(name): name for name in reversed(list(names))}
    key = _spelt(word)
    if (meant := by_key.get(_MEANT.get(key, key))) is not None:
        return f" Did you mean {meant!r}?"
    near = [by_key[known] for known in difflib.get_close_matches(key, by_key, n=1, cutoff=_NEAR)]
    part = [name for known, name in by_key.items() if len(key) > 3 and f"_{key}_" in f"_{known}_"]
    like = difflib.get_close_matches(key, by_key, n=1, cutoff=_ALIKE)
    found = near or part[-1:] or [by_key[known] for known in like]
    return f" Did you mean {found[0]!r}?" if found else ""


def _spelt(name: str) -> str:
    return name.strip("-").replace("-", "_").casefold()


def canonical_name(name: str) -> str:
    """Return the web app's name of a parameter; any other name as it is."""
    return ALIASES.get(name, name)


def aliases_of(name: str) -> tuple[str, ...]:
    """Return the short names of a parameter."""
    return tuple(alias for alias, canonical in ALIASES.items() if canonical == name)


def make_parameter(name: str, component: Component) -> Parameter:
    """Return the parameter that a component of the page stands for."""
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
        default=_seed_default(component) if kind == "seed" else _default(kind, props),
        choices=None if choices is None else component.choices,
        minimum=props.get("minimum"),
        maximum=props.get("maximum"),
        step=props.get("step"),
        aliases=aliases_of(name),
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
    empty = {"boolean": False, "choices": [], "text": ""}
    return props.get("minimum") if kind in ("integer", "number") else empty.get(kind)


def _seed_default(component: Component) -> int | str:
    """Return the seed that the page would send: a number or a text, as its component has it."""
    value = component.props.get("value")
    if component.kind != "number":
        return "0" if value is None else str(value)
    try:
        return int(value or 0)
    except (OverflowError, TypeError, ValueError):
        return 0


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
        found = self._parameters.get(name) or self._parameters.get(canonical_name(name))
        if found is None:
            aliases = [alias for item in self.values() for alias in item.aliases]
            msg = f"There is no parameter {name!r}.{nearest_name(str(name), [*self, *aliases])}"
            raise UnknownParameter(msg)
        return found

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
        part = text.casefold()
        found = {
            name: parameter
            for name, parameter in self._parameters.items()
            if any(part in word.casefold() for word in (name, parameter.label, *parameter.aliases))
        }
        return ParameterTable(found, self._title)

    def changed(self, parameters: Mapping[str, Parameter]) -> ParameterTable:
        """Return a copy of the table with some parameters replaced.

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

    @property
    def doubtful(self) -> tuple[Parameter, ...]:
        """The inputs of which the page does not tell what they are; they stay at their default."""
        return tuple(parameter for parameter in self._parameters.values() if parameter.doubt)

    @functools.cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The default of each parameter, by canonical name."""
        return {name: parameter.default for name, parameter in self._parameters.items()}

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
        return _columns([_HEADINGS, *self._rows()], 40)

    def _repr_html_(self) -> str:
        title = self._title or "Parameters"
        return wrap(data_table(_HEADINGS, self._rows(), title=title, height="26em"), label=title)


_HEADINGS = ("name", "label", "type", "default", "choices or range")


def _columns(rows: Sequence[Sequence[str]], longest: int) -> str:
    """Return rows of text as a table, each column cut to a width."""
    widths = [min(max(map(len, column)), longest) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell[:width].ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def _shorten(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return plain(value)
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


#: So many choices that only one of them has are named; of the others there is the number.
_NAMED = 5
#: Columns of text are cut to so many characters.
_LONGEST = 60


class ParameterDiff(Mapping[str, "tuple[Parameter | None, Parameter | None]"]):
    """For each parameter that differs, ours and theirs; None where one has it not.

    Shows as a table with what differs: which server has it, its type, label, default, choices and
    range. Empty, and so false, where the servers take the same.

    Parameters
    ----------
    here, there : ParameterTable
        The parameters of both.
    sides : tuple of (str, str)
        What the two are called. Default ``here`` and ``there``.
    title : str
        What the table is headed with.
    """

    def __init__(
        self,
        here: ParameterTable,
        there: ParameterTable,
        *,
        sides: tuple[str, str] = ("here", "there"),
        title: str = "",
    ) -> None:
        self._headings = ("name", "what", *sides)
        self._title = title
        names = dict.fromkeys([*here, *there])
        pairs = {name: (here.get(name), there.get(name)) for name in names}
        self._pairs = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def __getitem__(self, name: str) -> tuple[Parameter | None, Parameter | None]:
        return self._pairs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def only_here(self) -> tuple[str, ...]:
        """The names of the parameters that only this server has."""
        return tuple(name for name, (_, theirs) in self.items() if theirs is None)

    @property
    def only_there(self) -> tuple[str, ...]:
        """The names of the parameters that only the other server has."""
        return tuple(name for name, (ours, _) in self.items() if ours is None)

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the parameters that both have and that are not the same."""
        return tuple(name for name, pair in self.items() if None not in pair)

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows: list[tuple[str, str, str, str]] = []
        for name, (ours, theirs) in self._pairs.items():
            if ours is None or theirs is None:
                shown = [parameter.type if parameter else "" for parameter in (ours, theirs)]
                where = f"only {self._headings[3 if ours is None else 2]}"
                rows.append((name, where, shown[0], shown[1]))
            else:
                rows += [(name, *facts) for facts in _facts(ours, theirs)]
        return rows

    def __repr__(self) -> str:
        title = f"{self._title}\n" if self._title else ""
        if not self._pairs:
            return f"{title}no difference"
        return title + _columns([self._headings, *self._rows()], _LONGEST)

    def _repr_html_(self) -> str:
        title = self._title or "Differences"
        if not self._pairs:
            return wrap(f"{escape(title)}: no difference")
        table = data_table(self._headings, self._rows(), title=title, height="26em")
        return wrap(table, label=title)


def _facts(ours: Parameter, theirs: Parameter) -> Iterator[tuple[str, str, str]]:
    """Yield what differs between two parameters, and how it is here and there."""
    for fact in ("type", "label", "default"):
        here, there = getattr(ours, fact), getattr(theirs, fact)
        if here != there:
            yield fact, _short(here), _short(there)
    if ours.choices != theirs.choices:
        here_only = [c for c in ours.choices or () if c not in (theirs.choices or ())]
        there_only = [c for c in theirs.choices or () if c not in (ours.choices or ())]
        if here_only or there_only:
            yield "choices", _some(here_only), _some(there_only)
        else:
            yield "choices", "in one order", "in another order"
    ranges = [_range(parameter) for parameter in (ours, theirs)]
    if ranges[0] != ranges[1]:
        yield "range", ranges[0], ranges[1]
    if ours.aliases != theirs.aliases:
        yield "short names", ", ".join(ours.aliases), ", ".join(theirs.aliases)


def _range(parameter: Parameter) -> str:
    if parameter.minimum is None and parameter.maximum is None:
        return ""
    low, high, step = (
        "" if number is None else f"{number:g}"
        for number in (parameter.minimum, parameter.maximum, parameter.step)
    )
    return f"{low} to {high}" + (f" by {step}" if step else "")


def _some(choices: list[str]) -> str:
    """Name what only one side has."""
    shown = ", ".join(_short(choice) for choice in choices[:_NAMED])
    more = len(choices) - _NAMED
    return f"also {shown}" + (f" and {more} more" if more > 0 else "") if choices else ""


def _short(value: object) -> str:
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    text = plain(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


_WIDTH = 96


class Catalogue(tuple[str, ...]):
    """The names of styles, models and the like: a tuple that shows in columns."""

    __slots__ = ()

    def __new__(cls, names: Iterable[str] = ()) -> Catalogue:
        """Make one of some names, in their order."""
        return super().__new__(cls, tuple(names))

    def filter(self, text: str) -> Catalogue:
        """Return the names that contain `text`.

        Parameters
        ----------
        text : str
            In any case.

        Returns
        -------
        Catalogue
        """
        part = text.casefold()
        return Catalogue(name for name in self if part in name.casefold())

    def __repr__(self) -> str:
        if not self:
            return "(none)"
        widest = max(map(len, self)) + 2
        columns = max(_WIDTH // widest, 1)
        rows = (self[start : start + columns] for start in range(0, len(self), columns))
        return "\n".join("".join(name.ljust(widest) for name in row).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        if not self:
            return wrap("(none)")
        items = "".join(f"<li>{escape(name)}</li>" for name in self)
        return wrap(
            '<ul class="fnb-mono" tabindex="0" style="columns:20em auto;max-height:26em;'
            f'overflow:auto;list-style:none;padding:0;margin:0;text-align:left">{items}</ul>'
        )
