"""Routes behind the server's base URL, however a browser or a hub's proxy spells that."""

from __future__ import annotations

import re
from urllib.parse import unquote

__all__ = ["route"]

#: What is spelled in one way only.
_PLAIN = re.compile(r"[A-Za-z0-9/_-]")


def route(base_url: str, path: str) -> str:
    """Return the pattern of a route: `path`, a pattern itself, behind the base URL.

    A base URL such as ``/user/x%40y.org/`` is asked for as ``/user/x@y.org/``, too: browsers keep
    what was typed, and a hub quotes what it stores.
    """
    prefix = "/".join(("", *filter(None, unquote(base_url).split("/"))))
    return "".join(map(_spellings, prefix)) + path


def _spellings(sign: str) -> str:
    if _PLAIN.fullmatch(sign):
        return sign
    quoted = "".join(f"%{byte:02X}" for byte in sign.encode("utf-8"))
    either = {re.escape(sign), quoted, quoted.lower()}
    return f"(?:{'|'.join(sorted(either))})"
