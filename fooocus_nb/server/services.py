"""What the handlers share: made once by the extension, and given to each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from concurrent.futures import Executor

    from fooocus_nb.server.directory import Directory
    from fooocus_nb.server.thumbnail_cache import ThumbnailCache

__all__ = ["Limits", "Services"]


@dataclass(frozen=True)
class Limits:
    """What the extension's traits allow."""

    max_image_bytes: int
    max_log_followers: int
    ping_interval: float
    max_page_message: int


@dataclass(frozen=True)
class Services:
    """What the handlers share."""

    log: logging.Logger
    directory: Directory
    thumbnails: ThumbnailCache
    #: For what waits for engines or files, and is soon done.
    pool: Executor
    #: For commands, which take as long as an engine takes to end.
    commands: Executor
    limits: Limits
