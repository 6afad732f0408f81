"""Make a generation independent of the GPU, the expansion model and the wildcard files it meets."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb.engine.jobs.observers import trial
from fooocus_nb.engine.submission import check_request, submit_request
from fooocus_nb.errors import GenerationError, MetadataError, ParameterError, warn_user
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.metadata import read_metadata
from fooocus_nb.fooocus.schema.parameters import canonical_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.fooocus.schema.parameters import ParameterTable

__all__ = ["Portable", "cpu_twin", "make_portable", "portable_if_wanted"]

EXPANSION, RANDOM_STYLE = "Fooocus V2", "Random Style"
#: What of the prompt depends on a file of the server.
_WILDCARD = re.compile(r"__[\w-]+__")
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_ON_GPU = "_gpu"
#: The side of the small image that tells how the prompt comes out.
PROBE_SIDE = 256
#: How long that may take: the models have to be loaded for the first time.
PROBE_SECONDS = 1800.0


class AskedEngine(Protocol):
    """An engine that is asked how a prompt comes out."""

    @property
    def parameters(self) -> ParameterTable:
        """All that it takes."""


@dataclass(frozen=True)
class Portable:
    """A generation that was made portable.

    Attributes
    ----------
    prompt : str
        After wildcards and expansion.
    parameters : dict
        The other parameters.
    changes : tuple of str
        What was changed, and what could not be, in sentences.
    """

    prompt: str
    parameters: dict[str, Any]
    changes: tuple[str, ...]


def cpu_twin(sampler: str) -> str | None:
    """Return the sampler that draws its noise on the CPU in place of one that draws it on the GPU.

    ``dpmpp_2m_sde`` for ``dpmpp_2m_sde_gpu``; None for what draws no noise on the GPU.
    """
    return sampler.removesuffix(_ON_GPU) if sampler.endswith(_ON_GPU) else None


def portable_if_wanted(
    engine: AskedEngine, prompt: str, parameters: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return a generation as it is, or as ``portable=True`` makes it, and warn of changes.

    Raises
    ------
    ParameterError
        When ``portable`` is neither True nor False; and what :func:`make_portable` raises.
    """
    others = {name: value for name, value in parameters.items() if name != "portable"}
    wanted = parameters.get("portable", False)
    if not isinstance(wanted, bool):
        msg = f"portable={wanted!r} is not possible: give True or False."
        raise ParameterError(msg)
    if not wanted:
        return prompt, others
    made = make_portable(engine, prompt, others)
    for text in made.changes:
        warn_user(f"portable: {text}", UserWarning)
    return made.prompt, made.parameters


def make_portable(engine: AskedEngine, prompt: str, parameters: Mapping[str, Any]) -> Portable:
    """Return a generation as it can be made on another machine.

    Where the engine expands the prompt, or fills in wildcards or a random style, it is asked with
    one small image of one step how they come out with this seed.

    Raises
    ------
    ParameterError
        When a value is not possible, or when several images of one request would each have a
        prompt of their own.
    GenerationError
        When the engine doesn't say how the prompt came out.
    """
    request = check_request(engine, prompt, parameters)
    given = {canonical_name(name): value for name, value in parameters.items() if value is not None}
    values = request.values
    changes: list[str] = []
    new: dict[str, Any] = {"image_seed": request.seed} if "image_seed" in values else {}
    sampler = _cpu_sampler(engine, values, changes)
    if sampler is not None:
        new["sampler_name"] = sampler
    new |= _written_out(engine, values, {**given, **new}, changes)
    if _WILDCARD.search(str(values.get("negative_prompt") or "")):
        changes.append("wildcards in the negative prompt stay as they are")
    kept = {name: value for name, value in given.items() if name not in new}
    prompt = str(new.pop("prompt", values.get("prompt") or ""))
    return Portable(prompt, {**kept, **new}, tuple(changes))


def _cpu_sampler(engine: AskedEngine, values: Mapping[str, Any], changes: list[str]) -> str | None:
    """Return the sampler to use in place of one that draws its noise on the GPU, where it can be.

    What that changes, or why nothing can be changed, is added to `changes`.
    """
    sampler = str(values.get("sampler_name") or "")
    if str(values.get("performance_selection")) == "Hyper-SD":
        changes.append(
            "performance='Hyper-SD' draws its noise on the GPU whatever sampler is chosen: that "
            "stays as it is"
        )
        return None
    twin = cpu_twin(sampler)
    if twin is None:
        return None
    choices = engine.parameters["sampler_name"].choices
    if choices is not None and twin not in choices:
        changes.append(f"the sampler {sampler} stays: this engine has no {twin}")
        return None
    changes.append(f"sampler {sampler} -> {twin}, which draws its noise on the CPU")
    return twin


def _written_out(
    engine: AskedEngine, values: Mapping[str, Any], given: Mapping[str, Any], changes: list[str]
) -> dict[str, Any]:
    """Return prompt and styles as this engine makes them of wildcards, expansion and chance.

    Nothing where the engine need not be asked. What that changes is added to `changes`.
    """
    styles = [str(style) for style in values.get("style_selections") or ()]
    wanted = str(values.get("prompt") or "")
    reasons = [
        name
        for name, there in (
            ("prompt expansion", EXPANSION in styles and bool(wanted.strip())),
            ("wildcards", _WILDCARD.search(wanted) is not None),
            ("a random style", RANDOM_STYLE in styles),
        )
        if there
    ]
    if not reasons:
        return {}
    count = int(values.get("image_number") or 1)
    if count > 1:
        msg = (
            f"portable=True with {' and '.join(reasons)} and image_number={count}: each image "
            "would have a prompt of its own. Give image_number=1, and several seeds."
        )
        raise ParameterError(msg)
    said = _probed(engine, wanted, given)
    prompt = str(said.get("prompt") or "")
    expansion = str(said.get("prompt_expansion") or "")
    if prompt != wanted:
        changes.append(f"wildcards filled in: {prompt!r}")
    if EXPANSION in styles:
        if expansion:
            rest = prompt.partition("\n")[2]
            prompt = f"{expansion}\n{rest}" if rest else expansion
            changes.append(f"the expanded prompt stands in the prompt: {expansion!r}")
        changes.append(f"the style {EXPANSION!r}, which expands prompts, is switched off")
    if RANDOM_STYLE in styles:
        styles = _listed(said.get("styles")) or styles
        changes.append(f"the random style is {styles!r}")
    return {
        "prompt": prompt,
        "style_selections": [style for style in styles if style != EXPANSION],
    }


def _probed(engine: AskedEngine, prompt: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the engine writes into a small image about prompt, expansion and styles."""
    small = {
        "overwrite_step": 1,
        "overwrite_width": PROBE_SIDE,
        "overwrite_height": PROBE_SIDE,
        "save_metadata_to_images": True,
        "metadata_scheme": "fooocus",
        "output_format": "png",
    }
    known = engine.parameters
    lacking = [name for name in ("save_metadata_to_images", "metadata_scheme") if name not in known]
    if lacking:
        msg = (
            "portable=True needs to know how the prompt comes out, and this engine doesn't write "
            "that into images. Start it without --disable-metadata."
        )
        raise GenerationError(msg)
    asked = {name: value for name, value in small.items() if name in known}
    kept = {name: value for name, value in given.items() if name not in asked}
    # No result of anybody: neither a run nor the output folder gets the small image.
    with tempfile.TemporaryDirectory(
        prefix="fooocus-nb-trial-", ignore_cleanup_errors=True
    ) as name:
        with trial(Path(name)):
            job = submit_request(engine, check_request(engine, prompt, {**kept, **asked}))
        result = job.result(PROBE_SECONDS)
        try:
            return read_metadata(result[0].path, max_bytes=max_file_bytes()).raw
        except (IndexError, OSError, MetadataError) as error:
            msg = f"The engine doesn't say how the prompt came out: {error}."
            raise GenerationError(msg) from error


def _listed(styles: Any) -> list[str]:
    if isinstance(styles, str):
        return [one or other for one, other in _QUOTED.findall(styles)]
    return [str(style) for style in styles or ()]
