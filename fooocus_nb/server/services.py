"""What the handlers share: made once by the extension, and given to each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

__all__ = ["Services"]


@dataclass(frozen=True)
class Services:
    """What the handlers share."""

    log: logging.Logger
