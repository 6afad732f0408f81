"""What a user asks for, checked against the server and turned into what is sent."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError, UnsupportedParameter
from fooocus_nb.fooocus.images import encode_image, encode_masked
from fooocus_nb.fooocus.naming import ALIASES
from fooocus_nb.fooocus.parameter import MAX_SEED, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from fooocus_nb.fooocus.parameter import Parameter
    from fooocus_nb.fooocus.schema import Schema

__all__ = ["Request", "build_request", "lora_values"]

NO_LORA = "None"
#: Some forks take no seed: then nobody knows which it was.
NO_SEED = -1


@dataclass(frozen=True)
class Request:
    """A generation that the server will understand.

    Attributes
    ----------
    values : mapping
        The wire value of every parameter, by canonical name.
    given : mapping
        What the user gave, by canonical name, fit for JSON and for giving it again; a LoRA list is
        spread over its slots, and of a picture there is its path or its hash.
    seed : int
        The seed that is sent; -1 where the server takes none.
    """

    values: Mapping[str, Any]
    given: Mapping[str, Any]
    seed: int

    def seed_of(self, index: int) -> int:
        """Return the seed that makes one image of the request.

        Parameters
        ----------
        index : int
            Which image, from 0.

        Returns
        -------
        int
            The request's seed plus the index, unless the seed increment is disabled.
        """
        if self.seed == NO_SEED or self.values.get("disable_seed_increment"):
            return self.seed
        # Past the largest seed, Fooocus begins again at the smallest.
        return (self.seed + index) % (MAX_SEED + 1)

    def record(self) -> dict[str, Any]:
        """Return all that decides the outcome: what was given first, then the defaults.

        Returns
        -------
        dict
            By canonical name, fit for JSON and for ``engine.generate(**record)``.
        """
        defaults = {
            name: value
            for name, value in self.values.items()
            if name not in self.given and value is not None
        }
        return {**self.given, **defaults, "image_seed": self.seed}


def build_request(
    schema: Schema, prompt: str, parameters: Mapping[str, Any], *, rng: Random | None = None
) -> Request:
    """Check what a user asks for and turn it into what is sent.

    Parameters
    ----------
    schema : Schema
        The server's parameters.
    prompt : str
        What to draw.
    parameters : mapping
        Anything else, by canonical or short name; ``loras`` is a list of names or of pairs of a
        name and a weight.
    rng : random.Random, optional
        Draws the seed if none is given; by default the system's source of randomness.

    Returns
    -------
    Request
        Complete: what was not given is the server's default.

    Raises
    ------
    ParameterError
        When a name, type, choice or range is wrong.
    """
    given = _resolve(schema, prompt, parameters)
    loras = given.pop("loras", None)
    if loras is not None:
        given.update(lora_values(schema, loras, given))
    if "image_seed" in schema.parameters:
        given.setdefault("image_seed", (rng or secrets.SystemRandom()).randint(0, MAX_SEED))
    checked = {name: _check(schema.parameters[name], value) for name, value in given.items()}
    defaults = {name: parameter.default for name, parameter in schema.parameters.items()}
    seed = int(checked.get("image_seed", NO_SEED))
    kept = {
        name: _recordable(schema.parameters[name], given[name], checked[name]) for name in given
    }
    return Request(values={**defaults, **checked}, given={**kept, "image_seed": seed}, seed=seed)


def _resolve(schema: Schema, prompt: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given by canonical name. None is as good as not given."""
    given: dict[str, Any] = {"prompt": prompt}
    for name, value in parameters.items():
        if value is None:
            continue
        unseeded = ALIASES.get(name, name) == "image_seed" and "image_seed" not in schema.parameters
        if unseeded and value == NO_SEED:
            continue  # a record of this server, given again
        canonical = name if name == "loras" else schema.resolve(name)
        if canonical in given:
            msg = f"{name!r} is given twice, or under two names of {canonical!r}: give it once."
            raise ParameterError(msg)
        given[canonical] = value
    return given


def _check(parameter: Parameter, value: Any) -> Any:
    if parameter.type == "mask image":
        return encode_masked(parameter.name, value)
    if parameter.is_image:
        return encode_image(parameter.name, value)
    return parameter.check(value)


def _recordable(parameter: Parameter, value: Any, checked: Any) -> Any:
    """Return what was given in a form that JSON can hold and that can be given again."""
    if not parameter.is_image:
        return plain(checked) if parameter.name == "aspect_ratios_selection" else checked
    if hasattr(value, "path"):
        value = value.path
    if isinstance(value, os.PathLike) or (isinstance(value, str) and not value.startswith("data:")):
        return os.fspath(value)
    # A picture in memory is too large for a record; this tells at least whether it is the same.
    return "sha256:" + hashlib.sha256(repr(checked).encode()).hexdigest()


def lora_values(schema: Schema, loras: Any, given: Iterable[str]) -> dict[str, Any]:
    """Spread a list of LoRAs over the server's slots and empty the other slots.

    Parameters
    ----------
    schema : Schema
        The server's parameters.
    loras : iterable
        Names, or pairs of a name and a weight.
    given : iterable of str
        What else is given, by canonical name.

    Returns
    -------
    dict
        A value for every slot's parameters.

    Raises
    ------
    ParameterError
        When it is no such list, has too many items, or slots are given singly beside it.
    """
    numbers = sorted(
        int(name.split("_")[1])
        for name in schema.parameters
        if name.startswith("lora_") and name.endswith("_model")
    )
    if not numbers:
        msg = f"This server (Fooocus {schema.version}) has no slots for LoRAs."
        raise UnsupportedParameter(msg)
    if any(re.fullmatch(r"lora_\d+_\w+", name) for name in given):
        msg = "loras= fills all slots, so single lora_... parameters cannot be given beside it."
        raise ParameterError(msg)
    if isinstance(loras, (str, bytes)) or not hasattr(loras, "__iter__"):
        msg = f"loras={loras!r} is not possible: it must be a list such as [('name', 0.8)]."
        raise ParameterError(msg)
    pairs = [_lora_pair(item) for item in loras]
    if len(pairs) > len(numbers):
        msg = f"loras= has {len(pairs)} items, but this server has {len(numbers)} slots."
        raise ParameterError(msg)
    values: dict[str, Any] = {}
    for position, number in enumerate(numbers):
        name, weight = pairs[position] if position < len(pairs) else (NO_LORA, 1.0)
        for member, value in (("enabled", True), ("model", name), ("weight", weight)):
            full = f"lora_{number}_{member}"
            if full in schema.parameters:
                values[full] = value
    return values


def _lora_pair(item: Any) -> tuple[str, float]:
    if isinstance(item, str):
        return item, 1.0
    if isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str):
        return item[0], item[1]
    msg = f"loras= has {item!r}, which is neither a name nor a pair of a name and a weight."
    raise ParameterError(msg)
