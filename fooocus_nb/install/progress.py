"""What an installation tells while it runs, and how it asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fooocus_nb.doctor.report import format_bytes

__all__ = ["STEPS", "Observer", "Progress"]

#: The steps, in the order in which they are done.
STEPS = ("Source", "Environment", "PyTorch", "Packages", "Check")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an installation is.

    Attributes
    ----------
    step : str
        One of :data:`STEPS`.
    detail : str
        What is being done, such as the file that is downloaded.
    done, total : int or None
        Bytes of it, where they are known.
    percent : int or None
        The percentage of it, which follows from the bytes where they are known.
    """

    step: str
    detail: str = ""
    done: int | None = None
    total: int | None = None
    percent: int | None = None

    def __post_init__(self) -> None:
        if self.done is not None and self.total:
            object.__setattr__(self, "percent", min(100, 100 * self.done // self.total))

    @property
    def number(self) -> int:
        """How many steps are done."""
        return STEPS.index(self.step)

    @property
    def steps(self) -> int:
        """How many there are."""
        return len(STEPS)

    @property
    def text(self) -> str:
        """The same for people."""
        if self.done is None or not self.total:
            return self.detail
        return f"{self.detail}, {format_bytes(self.done)} of {format_bytes(self.total)}"


class Observer(Protocol):
    """Whoever shows an installation."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def update(self, progress: Progress) -> None:
        """Show how far it is; this comes often."""

    def confirm(self, question: str) -> bool:
        """Ask a question, and return whether the answer is yes."""
