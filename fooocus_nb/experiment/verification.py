"""The result of a verification: the level and causes of each image, and the badges."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fooocus_nb import _html
from fooocus_nb.experiment.similarity import LEVELS
from fooocus_nb.experiment.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fooocus_nb.experiment.causes import Cause
    from fooocus_nb.experiment.members import RunImage
    from fooocus_nb.experiment.similarity import Similarity

__all__ = ["BADGES", "Verification", "VerifiedImage"]

#: What was shown, in the words of the ACM (Artifact Review and Badging, version 1.1).
BADGES = {
    "available": "Artifacts Available",
    "functional": "Artifacts Evaluated - Functional",
    "reproduced": "Results Reproduced",
}
_COLUMNS = ("image", "level", "largest difference", "PSNR (dB)", "dHash distance", "cause")
MAX_SHOWN = 60
MAX_CAUSES = 5


@dataclass(frozen=True)
class VerifiedImage:
    """One image of a verification.

    Attributes
    ----------
    image : RunImage
        The image of the run.
    measures : Similarity
        ``largest_difference`` (0 to 255), ``psnr`` (in dB) and ``dhash_distance`` (of 64 bits);
        None where one can't be given, and ``reasons`` says why.
    causes : tuple of Cause
        What differs between both manifests, the likeliest cause first.
    """

    image: RunImage
    measures: Similarity
    causes: tuple[Cause, ...] = ()

    @property
    def level(self) -> str:
        """``bytes``, ``pixels``, ``close``, ``different`` or ``failed``."""
        return self.measures.level

    @property
    def cause(self) -> str:
        """The likeliest cause, such as ``model hash: ...``; empty where nothing differs.

        ``not in the manifests`` where nothing differs that could change the image, and ``no
        effect`` where something differs and the pixels are the same.
        """
        return str(self.causes[0]) if self.causes else ""

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        seed = self.image.seed
        return {
            "image": self.image.key,
            "seed": None if seed is None else str(seed),
            "level": self.level,
            "measures": self.measures.as_data(),
            "cause": self.cause or None,
            "causes": [cause.as_data() for cause in self.causes],
        }


@dataclass(frozen=True)
class Verification:
    """A run whose images were made again and compared; made by :meth:`Run.verify`.

    Attributes
    ----------
    run : Path
        The run's folder or archive.
    engine : str
        The name of the engine that made them again.
    total : int
        How many images the run has.
    rows : tuple of VerifiedImage
        One for each image that was made again, with ``image``, ``level``, ``measures`` and
        ``cause``.
    damaged : tuple of str
        The keys of those whose files are gone, or are not what their manifests say.
    archive : bool
        Whether the run was shared as one file, which may have hashes in place of images.
    """

    run: Path
    engine: str
    total: int
    rows: tuple[VerifiedImage, ...]
    damaged: tuple[str, ...] = ()
    archive: bool = False

    @property
    def counts(self) -> Mapping[str, int]:
        """How many images are of each level.

        These are ``bytes``, ``pixels``, ``close``, ``different`` and ``failed``.
        """
        found = Counter(row.level for row in self.rows)
        return MappingProxyType({level: found[level] for level in LEVELS})

    @property
    def ok(self) -> bool:
        """Whether all three badges are earned: no image is different, failed or damaged."""
        return all(self.badges.values())

    @property
    def badges(self) -> Mapping[str, bool]:
        """What was shown of the images that were looked at, in the words of the ACM badges.

        ``available``: their files are what their manifests say. ``functional``: all could be made
        again. ``reproduced``: all came out again, with the same bytes, the same pixels, or close.
        """
        counts = self.counts
        functional = bool(self.rows) and not counts["failed"]
        return MappingProxyType(
            {
                "available": bool(self.rows) and not self.damaged,
                "functional": functional,
                "reproduced": functional and not counts["different"],
            }
        )

    def facts(self) -> list[str]:
        """Return what there is to say of it, in a sentence each."""
        counts, looked_at = self.counts, len(self.rows)
        of = "" if looked_at == self.total else f" of {self.total:,}"
        shares = ", ".join(f"{number:,} {level}" for level, number in counts.items() if number)
        facts = [f"{looked_at:,}{of} images made again by {self.engine!r}: {shares or 'none'}"]
        earned = [name for name, shown in self.badges.items() if shown]
        missed = [f"not {name}" for name, shown in self.badges.items() if not shown]
        facts.append(f"shown: {', '.join((*earned, *missed))}")
        if self.damaged:
            facts.append(f"gone or changed since: {', '.join(self.damaged[:MAX_CAUSES])}")
        causes = Counter(row.cause for row in self.rows if row.cause)
        facts += [f"{cause} ({number:,})" for cause, number in causes.most_common(MAX_CAUSES)]
        if len(causes) > MAX_CAUSES:
            facts.append(f"and {len(causes) - MAX_CAUSES:,} other causes")
        return facts

    def table(self) -> Table:
        """Return a row for each image."""
        rows = [
            dict(
                zip(
                    _COLUMNS,
                    (
                        row.image.key,
                        row.level,
                        row.measures.largest_difference,
                        row.measures.psnr,
                        row.measures.dhash_distance,
                        row.cause or None,
                    ),
                    strict=True,
                )
            )
            for row in self.rows
        ]
        return Table(_COLUMNS, rows, title=f"Verification of {self.run.name}")

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it: seeds are strings, and there is no NaN or infinity."""
        return {
            "run": str(self.run),
            "engine": self.engine,
            "images": self.total,
            "verified": len(self.rows),
            "ok": self.ok,
            "badges": {
                name: {"shown": shown, "name": BADGES[name]} for name, shown in self.badges.items()
            },
            "counts": dict(self.counts),
            "damaged": list(self.damaged),
            "rows": [row.as_data() for row in self.rows],
        }

    def __str__(self) -> str:
        return "\n".join((f"{self.run}:", *(f"  {fact}" for fact in self.facts())))

    def __repr__(self) -> str:
        return f"<Verification of {str(self.run)!r}: {'; '.join(self.facts()[:2])}>"

    def _repr_html_(self) -> str:
        names = ("images", "badges", *(["files"] if self.damaged else []))
        summary = list(zip(names, self.facts(), strict=False))
        table = self.table()
        shown = [
            tuple("" if row[name] is None else str(row[name]) for name in _COLUMNS)
            for row in table[:MAX_SHOWN]
        ]
        more = len(table) - len(shown)
        note = [(f"{more:,} more images: .rows has them all",)] if more > 0 else []
        return _html.wrap(
            _html.data_table(("", ""), summary, title=table.title),
            _html.data_table(_COLUMNS, shown),
            *(_html.data_table(("",), [one]) for one in note),
            label="Verification",
        )
