"""Look at a run before a sweep goes on in it: whether it is this sweep, and the same engine."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.facts import facts_of
from fooocus_nb.errors import RunError
from fooocus_nb.experiment.hashing import file_hashes
from fooocus_nb.experiment.identity import canonical_json, short_name, value_text
from fooocus_nb.experiment.manifest import jsonable
from fooocus_nb.experiment.provenance import complete_models, find_models, provenance
from fooocus_nb.fooocus.schema.parameters import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.experiment.cells import Cell
    from fooocus_nb.experiment.manifest import Manifest, ModelRecord
    from fooocus_nb.experiment.sweep_protocols import OpenRun

__all__ = ["drawn_seed_of", "engine_differences", "refuse_another_sweep"]

#: So many manifests are compared; a run of more was made by the engines of these.
COMPARED = 200
#: How long the hash of a model that was changed is waited for: some 7 GB from a slow disk.
HASH_SECONDS = 180.0
SHOWN_VALUES = 4
#: Facts of the engine, and what they are called.
_FACTS = {
    "version": "the version of Fooocus",
    "fork": "the fork",
    "commit": "the commit",
    "dirty": "whether its files were changed",
    "preset": "the preset",
    "flags": "the flags",
}
#: Defaults that are no property of an image.
_BESIDE = frozenset({"image_seed", "current_tab", "prompt", "negative_prompt"})


def drawn_seed_of(run: OpenRun) -> int | None:
    """Return the seed that an earlier sweep of the run has drawn; None where none has."""
    for sweep in run.sweeps:
        drawn = sweep.get("drawn_seed") if isinstance(sweep, dict) else None
        if isinstance(drawn, str) and drawn.isdigit():
            return int(drawn)
    return None


def refuse_another_sweep(run: OpenRun, cells: Sequence[Cell]) -> None:
    """Raise where the folder holds a sweep that this one does not go on with."""
    planned = run.cells
    if not planned or any(cell.id in planned for cell in cells):
        return
    there = _values_by_name(cell.values for cell in planned.values())
    here = _values_by_name(cell.values for cell in cells)
    differences = [
        f"{short_name(name)} is given {'here' if name in here else 'there'} only"
        for name in sorted(here.keys() ^ there.keys())
    ]
    differences += [
        f"{short_name(name)} is {_few(there[name])} there and {_few(here[name])} here"
        for name in here
        if name in there and not here[name].keys() & there[name].keys()
    ]
    if differences:
        msg = (
            f"The run {run.path} holds another sweep: {'; '.join(differences)}. Nothing was "
            "changed. Give another folder, or make the axes of that sweep longer: then its cells "
            "stay what they are."
        )
        raise RunError(msg)


def _values_by_name(values: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for each in values:
        for name, value in each.items():
            # Numbers in a plan that was read, texts in a cell: a seed is the same either way.
            known = str(value) if name == "image_seed" else value
            found.setdefault(name, {})[canonical_json(known)] = known
    return found


def _few(values: Mapping[str, Any]) -> str:
    shown = [value_text(value, 40) for value in itertools.islice(values.values(), SHOWN_VALUES)]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def engine_differences(run: OpenRun, engine: Engine, cells: Sequence[Cell]) -> list[str]:
    """Return in what the engine differs from those that have made the run's cells so far."""
    given = {name for cell in cells for name in cell.values}
    planned = {cell.id for cell in cells}
    manifests = list(_latest(run, planned))
    if not manifests:
        return []
    differences: Counter[str] = Counter()
    facts = facts_of(engine)
    known = provenance(facts)
    defaults = engine.parameters.defaults
    for manifest in manifests:
        found = dict(_fact_differences(manifest, known.fooocus, facts.demo))
        if "preset" in given:
            found.pop("preset", None)
        if not (facts.owned and manifest.engine.get("owned")):
            found.pop("flags", None)  # nobody knows those of somebody else's engine
        differences.update(found.values())
        differences.update(_model_differences(manifest, facts.checkout))
        if "preset" not in given and not found:
            differences.update(_default_differences(manifest, defaults, given))
    total = len(manifests)
    return [
        f"{text} ({count} of {total} cells)" if count < total else text
        for text, count in differences.items()
    ]


def _latest(run: OpenRun, planned: set[str]) -> Iterator[Manifest]:
    """Yield the latest manifests of the sweep's cells."""
    names = run.index.manifest_names()[-COMPARED:]
    for name in names:
        try:
            manifest = run.manifest(name)
        except RunError:
            continue
        if manifest.cell in planned:
            yield manifest


def _fact_differences(
    manifest: Manifest, now: Mapping[str, Any], demo: bool
) -> Iterator[tuple[str, str]]:
    was_demo = manifest.engine.get("demo")
    if was_demo is not None and bool(was_demo) is not demo:
        names = {True: "the demo engine", False: "Fooocus"}
        yield "demo", f"the engine was {names[bool(was_demo)]}, and is {names[demo]} now"
        return
    for name, words in _FACTS.items():
        before, after = manifest.fooocus.get(name), now.get(name)
        if name == "flags":
            before, after = sorted(before or ()), sorted(after or ())
        if before is None or after is None:
            continue  # what was not known proves no difference
        if before != after:
            yield name, f"{words} was {_shown(before)}, and is {_shown(after)} now"


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return repr(" ".join(map(str, value))) if value else "none"
    return repr(value) if isinstance(value, str) else str(value)


def _model_differences(manifest: Manifest, checkout: Path | None) -> Iterator[str]:
    """Yield the models whose files are other ones now, by their hashes."""
    if checkout is None:
        return
    current = {
        (model.parameter, model.name): model for model in find_models(manifest.parameters, checkout)
    }
    for model in manifest.models:
        now = current.get((model.parameter, model.name))
        if now is None or model.sha256 is None:
            continue
        if now.reason is not None:
            yield f"the model {model.name!r} cannot be read any more: {now.reason}"
            continue
        if (now.bytes, now.mtime_ns) == (model.bytes, model.mtime_ns):
            continue
        digest = now.sha256
        if digest is None and now.bytes == model.bytes:
            digest = _wait_hash(now, checkout)
        if digest != model.sha256:
            was, is_now = model.sha256[:12], (digest or "another size")[:12]
            yield f"the file of the model {model.name!r} was {was}, and is {is_now} now"


def _wait_hash(model: ModelRecord, checkout: Path) -> str | None:
    """Return the hash of a model's file, which may have to be read first."""
    (known,), waiting = complete_models((model,), checkout)
    return file_hashes().wait(waiting[0], HASH_SECONDS) if waiting else known.sha256


def _default_differences(
    manifest: Manifest, defaults: Mapping[str, Any], given: set[str]
) -> Iterator[str]:
    """Yield the server's defaults that are other ones now, such as after an edit of config.txt."""
    for name, after in defaults.items():
        if name in manifest.given or name in given or name in _BESIDE or after is None:
            continue
        before, after = (_as_written(each) for each in (manifest.parameters.get(name), after))
        if before is None or canonical_json(before) == canonical_json(after):
            continue
        yield (
            f"the server's default of {name} was {value_text(before, 60)!r}, and is "
            f"{value_text(after, 60)!r} now"
        )


def _as_written(value: Any) -> Any:
    """Return a value as a manifest has it: without the page's markup."""
    return plain(value) if isinstance(value, str) else jsonable(value)
