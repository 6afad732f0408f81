"""The values that a user gives, checked against the server and turned into wire values."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb._secrets import redact
from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.given import only_our_errors
from fooocus_nb.fooocus.requests.images import (
    encode_image,
    encode_mask,
    encode_masked,
    is_url,
    refuse_url,
)
from fooocus_nb.fooocus.requests.lint import check_inpainting, find_ineffective
from fooocus_nb.fooocus.requests.shorthands import INPAINT_MASK, SHORTHANDS, expand
from fooocus_nb.fooocus.schema.named_values import INPUT_IMAGE, PartialRecord
from fooocus_nb.fooocus.schema.parameters import MAX_SEED, canonical_name, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from fooocus_nb.fooocus.requests.images import Fetch
    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["Request", "build_request", "incomplete", "wire_value"]

#: Stands for the seed where the server is a fork that takes none.
NO_SEED = -1
#: What is there though it is named as missing: some of its letters are lost.
_TEXTS = ("prompt", "negative_prompt")


@dataclass(frozen=True)
class Request:
    """A generation in wire values, with what was given for it."""

    #: The wire value of every parameter, by canonical name.
    values: Mapping[str, Any]
    #: What the user gave, by canonical name, fit for JSON and for giving it again; a LoRA list is
    #: spread over its slots, and an image is its path or its hash.
    given: Mapping[str, Any]
    #: The seed that is sent; -1 where the server takes none.
    seed: int
    #: What was given and has no effect, in sentences.
    warnings: tuple[str, ...] = ()
    #: The names of what the metadata behind the parameters doesn't tell and nobody gave either.
    missing: tuple[str, ...] = ()

    def seed_of(self, index: int) -> int:
        """Return the seed that makes one image of the request."""
        if self.seed == NO_SEED or self.values.get("disable_seed_increment"):
            return self.seed
        # Past the largest seed, Fooocus begins again at the smallest.
        return (self.seed + index) % (MAX_SEED + 1)

    def record(self) -> dict[str, Any]:
        """Return all that decides the outcome: what was given first, then the defaults."""
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
    """Check the values that a user gives, and return them with the server's other defaults."""
    with only_our_errors("the parameters", ParameterError):
        given = expand(schema, _resolve(schema, prompt, parameters))
    if "image_seed" in schema.parameters:
        most = schema.parameters["image_seed"].largest_drawn
        given.setdefault("image_seed", (rng or secrets.SystemRandom()).randint(0, most))
    checked = {}
    for name, value in given.items():
        with only_our_errors(f"{name}=", ParameterError):
            checked[name] = wire_value(schema.parameters[name], value, fetch)
    values = {**schema.parameters.defaults, **checked}
    check_inpainting(values)
    seed = int(checked.get("image_seed", NO_SEED))
    kept = {
        name: _recordable(schema.parameters[name], given[name], checked[name]) for name in given
    }
    return Request(
        values=values,
        given={**kept, "image_seed": seed},
        seed=seed,
        warnings=(*_unseeded(schema), *find_ineffective(schema, values, checked)),
        missing=tuple(dict.fromkeys(_missing(schema, prompt, parameters, checked))),
    )


def _unseeded(schema: Schema) -> Iterator[str]:
    """Warn where the seed is one of the inputs that the page does not tell for certain."""
    for parameter in schema.parameters.doubtful:
        if "image_seed" in parameter.candidates and "image_seed" not in schema.parameters:
            yield (
                f"The server's page does not tell whether {parameter.name!r} is the seed, so it "
                f"stays at {parameter.default!r}: the same request may give the same image again."
            )


def _missing(
    schema: Schema, prompt: str, parameters: Mapping[str, Any], checked: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what the record behind the parameters left out and what isn't given now either."""
    not_whole = [
        canonical_name(name)
        for name, value in {**parameters, "prompt": prompt}.items()
        if isinstance(value, PartialRecord) and canonical_name(name) in value.missing
    ]
    for value in (prompt, *parameters.values()):
        for name in value.missing if isinstance(value, PartialRecord) else ():
            if name in not_whole:
                given = False
            elif name == INPUT_IMAGE:
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
    names = [name for name in missing if name != INPUT_IMAGE and name not in _TEXTS]
    facts = [f"does not tell {', '.join(names)}; the server's defaults are used"] if names else []
    if texts := [name for name in missing if name in _TEXTS]:
        facts.append(f"has question marks in the place of other letters in {', '.join(texts)}")
    if INPUT_IMAGE in missing:
        facts.append("holds no input image, which this image was made from")
    return (
        f"The metadata that these parameters come from {', and it '.join(facts)}. "
        "Give what is missing to make the same image again."
    )


def _resolve(schema: Schema, prompt: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given by canonical name; None counts as not given."""
    given: dict[str, Any] = {"prompt": prompt}
    for name, value in parameters.items():
        if value is None:
            continue
        unseeded = canonical_name(name) == "image_seed" and "image_seed" not in schema.parameters
        if (unseeded and value == NO_SEED) or _is_left(schema, name, value):
            continue  # a record of this server, given again
        canonical = name if name in SHORTHANDS else schema.resolve(name)
        if canonical in given:
            msg = f"{name!r} is given twice, or under two names of {canonical!r}: give it once."
            raise ParameterError(msg)
        given[canonical] = value
    return given


def _is_left(schema: Schema, name: str, value: Any) -> bool:
    """Whether it is a doubtful input with the default that it is left at."""
    parameter = schema.parameters.get(name)
    if parameter is None or not parameter.doubt or type(value) is not type(parameter.default):
        return False
    return bool(value == parameter.default)


def wire_value(parameter: Parameter, value: Any, fetch: Fetch = refuse_url) -> Any:
    """Return a value as the server takes it; `fetch` gets images behind web addresses."""
    if parameter.name == INPAINT_MASK and not isinstance(value, (dict, list, tuple)):
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
        parts = (part for part in ("image", "mask") if value.get(part) is not None)
        return {part: _image_record(value[part], checked[part]) for part in parts}
    return _image_record(value, checked)


def _image_record(value: Any, checked: Any) -> str:
    if hasattr(value, "path"):
        value = value.path
    if isinstance(value, os.PathLike) or (isinstance(value, str) and not value.startswith("data:")):
        path = os.fspath(value)
        return redact(path) if is_url(path) else path  # an address may hold a password
    # An image in memory is too large for a record; a hash tells at least whether it is the same.
    return "sha256:" + hashlib.sha256(repr(checked).encode()).hexdigest()
