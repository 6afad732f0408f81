"""What a user asks for, checked against the server and turned into what is sent."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus._completeness import INPUT_IMAGE
from fooocus_nb.fooocus.expansion import SHORTHANDS, UPLOADED, expand
from fooocus_nb.fooocus.ignored import check_inpainting, ignored
from fooocus_nb.fooocus.images import encode_image, encode_mask, encode_masked
from fooocus_nb.fooocus.named_values import PartialRecord
from fooocus_nb.fooocus.naming import ALIASES
from fooocus_nb.fooocus.parameter import MAX_SEED, plain
from fooocus_nb.fooocus.urls import refuse_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from fooocus_nb.fooocus.parameter import Parameter
    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.urls import Fetch

__all__ = ["Request", "build_request", "incomplete", "wire_value"]

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
    warnings : tuple of str
        What was given and has no effect, in sentences.
    missing : tuple of str
        What the metadata that the parameters come from doesn't tell and nobody gave either, by
        the names of parameters.
    """

    values: Mapping[str, Any]
    given: Mapping[str, Any]
    seed: int
    warnings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

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
    schema: Schema,
    prompt: str,
    parameters: Mapping[str, Any],
    *,
    rng: Random | None = None,
    fetch: Fetch = refuse_url,
) -> Request:
    """Check what a user asks for and turn it into what is sent.

    Parameters
    ----------
    schema : Schema
        The server's parameters.
    prompt : str
        What to draw.
    parameters : mapping
        Anything else, by canonical or short name. ``task`` is one of
        :mod:`fooocus_nb.fooocus.tasks`, ``image_prompts`` a list of ``ImagePrompt`` and
        ``enhance`` one of ``Enhance``; ``loras`` is a list of names or of pairs of a name and a
        weight.
    rng : random.Random, optional
        Draws the seed if none is given; by default the system's source of randomness.
    fetch : callable
        Fetches pictures behind web addresses; by default they are refused.

    Returns
    -------
    Request
        Complete: what was not given is the server's default.

    Raises
    ------
    ParameterError
        When a name, type, choice or range is wrong, or a mask is empty.
    """
    given = expand(schema, _resolve(schema, prompt, parameters))
    if "image_seed" in schema.parameters:
        given.setdefault("image_seed", (rng or secrets.SystemRandom()).randint(0, MAX_SEED))
    checked = {
        name: wire_value(schema.parameters[name], value, fetch) for name, value in given.items()
    }
    values = {name: parameter.default for name, parameter in schema.parameters.items()} | checked
    check_inpainting(values)
    seed = int(checked.get("image_seed", NO_SEED))
    kept = {
        name: _recordable(schema.parameters[name], given[name], checked[name]) for name in given
    }
    return Request(
        values=values,
        given={**kept, "image_seed": seed},
        seed=seed,
        warnings=tuple(ignored(schema, values, checked)),
        missing=tuple(_missing(schema, prompt, parameters, checked)),
    )


def _missing(
    schema: Schema, prompt: str, parameters: Mapping[str, Any], checked: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what the record behind the parameters left out and what isn't given now either."""
    for value in (prompt, *parameters.values()):
        for name in value.missing if isinstance(value, PartialRecord) else ():
            if name == INPUT_IMAGE:
                given = any(
                    checked[other] is not None and schema.parameters[other].is_image
                    for other in checked
                )
            else:  # what this server doesn't have can't make a difference
                given = name in checked or name not in schema.parameters
            if not given:
                yield name


def incomplete(missing: tuple[str, ...]) -> str:
    """Say in a sentence what the record behind the parameters left out."""
    names = [name for name in missing if name != INPUT_IMAGE]
    facts = [f"does not tell {', '.join(names)}; the server's defaults are used"] if names else []
    if INPUT_IMAGE in missing:
        facts.append("holds no input image, which this image was made from")
    return (
        f"The metadata that these parameters come from {', and it '.join(facts)}. "
        "Give what is missing to make the same image again."
    )


def _resolve(schema: Schema, prompt: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given by canonical name. None is as good as not given."""
    given: dict[str, Any] = {"prompt": prompt}
    for name, value in parameters.items():
        if value is None:
            continue
        unseeded = ALIASES.get(name, name) == "image_seed" and "image_seed" not in schema.parameters
        if unseeded and value == NO_SEED:
            continue  # a record of this server, given again
        canonical = name if name in SHORTHANDS else schema.resolve(name)
        if canonical in given:
            msg = f"{name!r} is given twice, or under two names of {canonical!r}: give it once."
            raise ParameterError(msg)
        given[canonical] = value
    return given


def wire_value(parameter: Parameter, value: Any, fetch: Fetch = refuse_url) -> Any:
    """Return a value as the server takes it.

    Parameters
    ----------
    parameter : Parameter
        What it is for.
    value : object
        What was given.
    fetch : callable
        Fetches pictures behind web addresses; by default they are refused.

    Returns
    -------
    object

    Raises
    ------
    ParameterError
        When it is not possible.
    """
    if parameter.name == UPLOADED and not isinstance(value, (dict, list, tuple)):
        value = encode_mask(parameter.name, value, fetch)
    if parameter.type == "mask image":
        return encode_masked(parameter.name, value, fetch)
    if parameter.is_image:
        return encode_image(parameter.name, value, fetch)
    return parameter.check(value)


def _recordable(parameter: Parameter, value: Any, checked: Any) -> Any:
    """Return what was given in a form that JSON can hold and that can be given again."""
    if not parameter.is_image:
        return plain(checked) if parameter.name == "aspect_ratios_selection" else checked
    if isinstance(value, (list, tuple)):
        value = dict(zip(("image", "mask"), value, strict=False))
    if isinstance(value, dict):
        halves = (half for half in ("image", "mask") if value.get(half) is not None)
        return {half: _picture_record(value[half], checked[half]) for half in halves}
    return _picture_record(value, checked)


def _picture_record(value: Any, checked: Any) -> str:
    if hasattr(value, "path"):
        value = value.path
    if isinstance(value, os.PathLike) or (isinstance(value, str) and not value.startswith("data:")):
        return os.fspath(value)
    # A picture in memory is too large for a record; this tells at least whether it is the same.
    return "sha256:" + hashlib.sha256(repr(checked).encode()).hexdigest()
