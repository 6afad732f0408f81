"""Connect to a websocket on this machine past any proxy, with each version of websockets."""

from __future__ import annotations

import inspect
from typing import Any

from websockets.sync.client import ClientConnection, connect

__all__ = ["connect_directly"]


def connect_directly(address: str, **options: Any) -> ClientConnection:
    """Connect as `websockets.sync.client.connect` does; before version 15 it knew no proxies."""
    if "proxy" in inspect.signature(connect).parameters:
        options["proxy"] = None
    return connect(address, **options)
