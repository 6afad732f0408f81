"""Compare an image with the one made again: same bytes, same pixels, close, or different."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fooocus_nb.experiment.hashing import dhash, dhash_distance, pixel_facts, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import PIL.Image

    from fooocus_nb.experiment.manifest import ImageRecord

__all__ = ["CLOSE_DHASH", "CLOSE_PSNR", "LEVELS", "Similarity", "compare_files"]

#: How near two images can be, the nearest first; ``failed`` is one that could not be made.
LEVELS = ("bytes", "pixels", "close", "different", "failed")
#: From this ratio on, differences are hard to see: what other kernels of a GPU round otherwise.
CLOSE_PSNR = 30.0
#: Two images of one composition differ in so many of the 64 bits at the most.
CLOSE_DHASH = 6
_PEAK = 255


@dataclass(frozen=True)
class Similarity:
    """How near an image that was made again is to the first one.

    Attributes
    ----------
    level : str
        ``bytes``, ``pixels``, ``close``, ``different``, or ``failed``.
    largest_difference : int or None
        Of any channel of any pixel, 0 to 255.
    psnr : float or None
        The peak signal-to-noise ratio in dB. None for equal pixels, where it is infinite, and
        where it can't be measured; `reasons` says which.
    dhash_distance : int or None
        In how many of 64 bits the difference hashes differ.
    reasons : mapping
        Why a measure is None, by its name.
    """

    level: str
    largest_difference: int | None = None
    psnr: float | None = None
    dhash_distance: int | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether the pixels are the same."""
        return self.level in ("bytes", "pixels")

    @classmethod
    def failed(cls, reason: str) -> Similarity:
        """Return those of an image that could not be made, or not be read."""
        return cls("failed", reasons=dict.fromkeys(_NAMES, reason))

    def as_data(self) -> dict[str, Any]:
        """Return them as JSON can hold them: no NaN and no infinity, but None and a reason."""
        return {**{name: getattr(self, name) for name in _NAMES}, "reasons": dict(self.reasons)}


_NAMES = ("largest_difference", "psnr", "dhash_distance")
_EQUAL = "infinite: the pixels are the same"


def compare_files(record: ImageRecord, before: bytes | None, after: bytes) -> Similarity:
    """Compare an image with the one that was made again.

    Parameters
    ----------
    record : ImageRecord
        What the manifest says of the first one.
    before : bytes or None
        Its file; None where only its hashes are there, as in a run that was shared without
        originals.
    after : bytes
        The file of the other one.

    Returns
    -------
    Similarity
        ``close`` is a PSNR of 30 dB or more, and 6 of the 64 bits of dHash at the most. Without
        the first file only dHash counts.
    """
    if sha256(after) == record.sha256:
        return Similarity("bytes", 0, None, 0, {"psnr": _EQUAL})
    now = pixel_facts(after)
    if now.pixels_sha256 == record.pixels_sha256:
        return Similarity("pixels", 0, None, 0, {"psnr": _EQUAL})
    distance = None if record.dhash is None else dhash_distance(record.dhash, now.dhash)
    if (now.width, now.height) != (record.width, record.height):
        why = (
            f"the sizes differ: {record.width}x{record.height} before, {now.width}x{now.height} now"
        )
        reasons = {"largest_difference": why, "psnr": why}
        return Similarity("different", None, None, distance, reasons | _unknown(distance))
    if before is None:
        why = "only the hashes of the first image are there"
        near = distance is not None and distance <= CLOSE_DHASH
        reasons = {"largest_difference": why, "psnr": why}
        return Similarity(
            "close" if near else "different", None, None, distance, reasons | _unknown(distance)
        )
    largest, psnr, seen = _measured(before, after)
    if largest == 0:  # one has an alpha channel that hides nothing
        return Similarity("pixels", 0, None, seen, {"psnr": _EQUAL})
    near = psnr is not None and psnr >= CLOSE_PSNR and seen <= CLOSE_DHASH
    return Similarity("close" if near else "different", largest, psnr, seen)


def _unknown(distance: int | None) -> dict[str, str]:
    return {} if distance is not None else {"dhash_distance": "the first one's is not known"}


def _measured(before: bytes, after: bytes) -> tuple[int, float | None, int]:
    """Return the largest difference, the PSNR, and the distance of the difference hashes."""
    import PIL.Image
    from PIL import ImageChops

    with PIL.Image.open(io.BytesIO(before)) as one, PIL.Image.open(io.BytesIO(after)) as other:
        both = (one, other)
        mode = "RGBA" if any(image.has_transparency_data for image in both) else "RGB"
        first, second = (image.convert(mode) for image in both)
    found = ImageChops.difference(first, second)
    counts = _counts(found)
    largest = max((level for level, count in enumerate(counts) if count), default=0)
    squares = sum(count * level * level for level, count in enumerate(counts))
    total = sum(counts)
    psnr = 10 * math.log10(_PEAK * _PEAK * total / squares) if squares and total else None
    distance = dhash_distance(dhash(first), dhash(second))
    return largest, None if psnr is None else round(psnr, 3), distance


def _counts(image: PIL.Image.Image) -> Sequence[int]:
    """Return how often each of the 256 levels is there, over all channels."""
    histogram = image.histogram()
    return [sum(histogram[level::256]) for level in range(256)]
