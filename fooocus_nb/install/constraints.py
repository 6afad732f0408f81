"""The constraints that make Fooocus's requirements work today, read from ``constraints.txt``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.errors import InstallError
from fooocus_nb.fooocus.plain_files import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILD_TOOLS", "REQUIREMENTS", "Pin", "constraints_for", "packaged", "pins_of"]

FILE = Path(__file__).with_name("constraints.txt")
#: The files that the versions of Fooocus and its forks have, the first one counts.
REQUIREMENTS = ("requirements_versions.txt", "requirements.txt")
MAX_BYTES = 1_000_000
#: What the environment is made with, and the reason for each.
BUILD_TOOLS = {
    # Tells its progress by lines (from 24.1 on) and pins what packages are built with (25.3).
    "pip": "26.3",
    # It still has pkg_resources, which pytorch_lightning 2.3 imports; newer ones have not.
    "setuptools": "80.9.0",
}
_PIN = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*==\s*([\w.+!-]+)\s*(?:[;#].*)?")
_WHEN = re.compile(r"# when ([\w.-]+)<(\d+)")


@dataclass(frozen=True)
class Pin:
    """One line of ``constraints.txt``."""

    package: str
    version: str
    reason: str
    #: The package and the version that the checkout has to pin below, where it matters.
    when: tuple[str, int] | None = None

    def __str__(self) -> str:
        return f"{self.package}=={self.version}"


def packaged() -> list[Pin]:
    """Return all pins of the package's own file, with the reason that stands above each."""
    pins: list[Pin] = []
    when: tuple[str, int] | None = None
    reason: list[str] = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if match := _WHEN.match(line):
            when, reason = (match[1], int(match[2])), []
        elif line.strip() == "# always":
            when, reason = None, []
        elif line.startswith("#"):
            reason.append(line.removeprefix("#").strip())
        elif match := _PIN.fullmatch(line):
            pins.append(Pin(match[1], match[2], " ".join(reason), when))
            reason = []
        else:
            reason = []
    return pins


def requirements_of(checkout: Path) -> Path:
    """Return the file with a checkout's requirements."""
    for name in REQUIREMENTS:
        if (checkout / name).is_file():
            return checkout / name
    msg = (
        f"{str(checkout)!r} does not say which packages it needs: it has neither "
        f"{' nor '.join(REQUIREMENTS)}. Is it a Fooocus?"
    )
    raise InstallError(msg)


def pins_of(requirements: Path) -> dict[str, str]:
    """Return the versions that requirements pin, by package, as packages are compared."""
    try:
        text = read_plain_file(requirements, MAX_BYTES).decode("utf-8", "replace")
    except OSError as error:
        msg = f"{str(requirements)!r} cannot be read: {error.strerror or error}."
        raise InstallError(msg) from error
    found = [match for line in text.splitlines() if (match := _PIN.fullmatch(line))]
    return {canonical(match[1]): match[2] for match in found}


def constraints_for(pinned: Mapping[str, str]) -> list[Pin]:
    """Return the constraints for a checkout that pins these versions itself."""
    return [
        pin
        for pin in packaged()
        if canonical(pin.package) not in pinned
        and (pin.when is None or _below(pinned.get(canonical(pin.when[0]), ""), pin.when[1]))
    ]


def _below(version: str, limit: int) -> bool:
    match = re.match(r"\d+", version)
    return match is not None and int(match[0]) < limit


def canonical(package: str) -> str:
    """Return a package's name as names are compared."""
    return re.sub(r"[-_.]+", "-", package).lower()
