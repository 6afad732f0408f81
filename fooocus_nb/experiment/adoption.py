"""Adoption: after a crash, what lies whole in a run gets its manifest."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from fooocus_nb.experiment.attempts import seed_of
from fooocus_nb.experiment.folder import (
    IMAGES,
    MANIFESTS,
    manifest_name,
    now,
    parse_image_name,
    parse_manifest_name,
)
from fooocus_nb.experiment.hashing import is_whole, pixel_facts, sha256
from fooocus_nb.experiment.manifest import (
    ImageRecord,
    InputRecord,
    Manifest,
    ModelRecord,
    seed_from_json,
    seeds_as_numbers,
)
from fooocus_nb.experiment.provenance import find_models, find_prompts
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.schema.parameters import MAX_SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fooocus_nb.experiment.folder import RunFolder
    from fooocus_nb.experiment.hashing import PixelFacts
    from fooocus_nb.experiment.index import RunIndex

__all__ = ["Adoption"]


class Adoption:
    """Adopts what an earlier kernel has left in a run. `write` writes a manifest."""

    def __init__(
        self,
        folder: RunFolder,
        index: RunIndex,
        run_id: str,
        write: Callable[[Manifest], None],
    ) -> None:
        self._folder = folder
        self._index = index
        self._run_id = run_id
        self._write = write

    def adopt_all(self) -> list[Manifest]:
        """Adopt what an earlier kernel has left, and return the manifests that this made.

        Images that are whole and that no manifest lists get one, from what the line says that was
        written before their request, and from what they say themselves. What is torn is removed.
        """
        left: dict[tuple[int, str], list[str]] = {}
        for name in self._index.unlisted_images():
            parsed = parse_image_name(name)
            if parsed is not None:
                left.setdefault(parsed[:2], []).append(name)
        torn = self._torn_names()
        theirs = self._names_of_others()
        lines = self._index.sent_lines({attempt for _, attempt in (*left, *torn.values())})
        adopted = []
        for (number, attempt), names in sorted(left.items()):
            line = lines.get(attempt)
            if line is None or line.get("number") != number:
                continue
            if manifest_name(number, attempt) in theirs:
                continue  # it is not ours to write over
            # A line that somebody has changed may say anything.
            with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
                manifest = self._adopt_images(line, names)
                if manifest is not None:
                    adopted.append(manifest)
        self._remove_torn(torn, lines)
        for line in self._index.open_attempts():
            whole = self._index.is_whole(str(line["attempt"]))
            with contextlib.suppress(ValueError):
                self._note_end(line, "made" if whole else "interrupted")
        return adopted

    def draft_of(self, line: Mapping[str, Any]) -> Manifest:
        """Return what a line that was written before a request says, as a manifest."""
        base = self._index.engine(str(line.get("engine"))) or {}
        values = seeds_as_numbers({**base.get("parameters", {}), **line.get("values", {})})
        return Manifest(
            run=self._run_id,
            attempt=str(line["attempt"]),
            number=int(line["number"]),
            cell=line.get("cell"),
            tries=int(line.get("try") or 1),
            created=str(line.get("time") or now()),
            complete=False,
            parameters=values,
            given=tuple(line.get("given") or ()),
            seed=seed_from_json(line.get("seed")),
            images=(),
            inputs=tuple(InputRecord(**one) for one in line.get("inputs") or ()),
            models=_models_of(line) or find_models(values, None),
            fooocus=base.get("fooocus") or {},
            system=base.get("system") or {},
            software=base.get("software") or {},
            engine=base.get("name") or {},
        )

    def _adopt_images(self, line: Mapping[str, Any], names: Sequence[str]) -> Manifest | None:
        draft = self.draft_of(line)
        whole = self._whole_images(names)
        if not whole:
            return None
        images = self._records(draft, whole)
        expected = int(line.get("images") or 1)
        complete = len({image.number_in_request for image in images}) >= expected
        manifest = replace(draft, complete=complete, adopted=True, images=tuple(images))
        self._write(manifest)
        self._note_end(line, "made" if complete else "interrupted", adopted=True)
        return manifest

    def _whole_images(self, names: Sequence[str]) -> list[tuple[str, bytes, PixelFacts]]:
        """Return path, bytes and pixels of the images that are whole, and remove the torn ones."""
        whole = []
        for name in sorted(names, key=lambda name: parse_image_name(name) or ()):
            path = f"{IMAGES}/{name}"
            try:
                data = self._folder.read(path, max_file_bytes())
                seen = pixel_facts(data)
                if is_whole(data):
                    whole.append((path, data, seen))
                else:
                    self._folder.remove(path)
            except Exception:  # noqa: BLE001 - Pillow raises all sorts for a file that is torn
                self._folder.remove(path)
        return whole

    def _records(
        self, draft: Manifest, whole: Sequence[tuple[str, bytes, PixelFacts]]
    ) -> list[ImageRecord]:
        """Return what a manifest says of images, from what they say themselves."""
        values, first = draft.parameters, draft.seed
        files = [(path, PurePath(path).name, place) for place, (path, _, _) in enumerate(whole, 1)]
        prompts = find_prompts(
            (),
            [(self._folder.path / path, name, number) for path, name, number in files],
            local=False,
        )
        images = []
        for place, ((path, data, seen), told) in enumerate(zip(whole, prompts, strict=True)):
            number = _number_of(values, first, told.seed, place)
            images.append(
                ImageRecord(
                    path=path,
                    number_in_request=number + 1,
                    seed=told.seed if told.seed is not None else seed_of(values, first, number),
                    sha256=sha256(data),
                    bytes=len(data),
                    width=seen.width,
                    height=seen.height,
                    format=seen.format,
                    pixels_sha256=seen.pixels_sha256,
                    dhash=seen.dhash,
                    prompt=told.prompt,
                    expansion=told.expansion,
                )
            )
        return images

    def _note_end(self, line: Mapping[str, Any], event: str, **extra: Any) -> None:
        record = {name: line.get(name) for name in ("attempt", "cell", "number", "try")}
        self._folder.append("attempts", {**record, "event": event, "time": now(), **extra})
        self._index.refresh_lines("attempts")

    def _torn_names(self) -> dict[str, tuple[int, str]]:
        """Return the manifests that are torn, with number and attempt (8 digits)."""
        names = (name for name, why in self._index.unfit().items() if why.startswith("torn: "))
        return {name: found for name in names if (found := parse_manifest_name(name)) is not None}

    def _names_of_others(self) -> set[str]:
        """Return the manifests that are whole and that we can't read, such as newer ones."""
        return {name for name, why in self._index.unfit().items() if not why.startswith("torn: ")}

    def _remove_torn(
        self,
        torn: Mapping[str, tuple[int, str]],
        lines: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Remove torn manifests of ours; by now their images have others, or aren't whole."""
        for name, (_, attempt) in torn.items():
            line = lines.get(attempt)
            if line is None or manifest_name(int(line["number"]), line["attempt"]) != name:
                continue
            # The new one has the name of the torn one.
            if name in self._index.unfit():
                self._folder.remove(f"{MANIFESTS}/{name}")
                self._index.forget_unfit(name)


def _models_of(line: Mapping[str, Any]) -> tuple[ModelRecord, ...]:
    """Return the models that were found when an attempt was sent."""
    return tuple(
        ModelRecord(**{**one, "mtime_ns": seed_from_json(one["mtime_ns"])})
        for one in line.get("models") or ()
    )


def _number_of(values: Mapping[str, Any], first: int | None, seed: int | None, place: int) -> int:
    """Return which image of its request a file is: by its seed, or by the order of its coming."""
    if first is None or seed is None or values.get("disable_seed_increment"):
        return place
    number = (seed - first) % (MAX_SEED + 1)
    return number if number < int(values.get("image_number") or 1) else place
