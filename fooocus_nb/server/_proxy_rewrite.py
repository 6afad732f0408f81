"""What is passed between a browser and an engine, and what is changed on the way."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PLACEHOLDER",
    "SANDBOX",
    "Replacer",
    "allowed_request_headers",
    "allowed_response_headers",
    "location_below",
    "page_policy",
    "rewrite_page",
    "without_token",
]

#: A page with these has no origin: it is nobody to Jupyter. Never allow-same-origin, nor
#: allow-top-navigation.
SANDBOX = "sandbox allow-scripts allow-forms allow-popups allow-downloads allow-modals"
#: What Gradio from 4 on is told to be called: it puts that into its answers, and there it is
#: replaced. So no engine, and no log of one, learns the secret from us.
PLACEHOLDER = "http://engine.fooocus-nb.invalid"
#: All else stays here: cookies, tokens and XSRF headers above all.
REQUEST_HEADERS = (
    *("Accept", "Accept-Language", "Content-Type", "If-Modified-Since", "If-None-Match"),
    *("If-Range", "Range", "User-Agent", "X-Gradio-User"),
)
RESPONSE_HEADERS = (
    *("Accept-Ranges", "Content-Disposition", "Content-Encoding", "Content-Language"),
    *("Content-Length", "Content-Range", "Content-Type", "ETag", "Last-Modified", "Retry-After"),
)
#: A page is a few hundred kB, most of them its configuration.
MAX_PAGE_BYTES = 32_000_000
#: The root in the configuration of Gradio 3: nothing, or what GRADIO_ROOT_PATH says.
_ROOT = re.compile(rb'("root"\s*:\s*)"(?:/[^"\\]*)?"')
#: What no header may hold.
_UNSENDABLE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_HEAD = re.compile(rb"<head\b[^>]*>", re.IGNORECASE)
_SCRIPT = Path(__file__).with_name("page_script.js")


def page_policy(host: str, prefix: str) -> str:
    """Return the policy for everything below a page's prefix."""
    # Requests and forms stay below it, too, for browsers that would send a cookie along.
    own = " ".join(f"{scheme}://{host}{prefix}" for scheme in ("http", "https", "ws", "wss"))
    return "; ".join(
        (
            SANDBOX,
            "frame-ancestors 'self'",
            f"connect-src {own} data: blob:",
            f"form-action {own}",
            "worker-src blob: data:",
            f"base-uri {own}",
        )
    )


def allowed_request_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of a browser's headers that an engine gets."""
    return {name: headers[name] for name in REQUEST_HEADERS if name in headers}


def allowed_response_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of an engine's headers that a browser gets; none that cannot be sent."""
    given = {name: _as_sent(headers[name]) for name in RESPONSE_HEADERS if name in headers}
    return {name: value for name, value in given.items() if not _UNSENDABLE.search(value)}


def _as_sent(value: str) -> str:
    """Return a value that was read as UTF-8 so that its bytes are sent as they came."""
    return value.encode("utf-8", "surrogateescape").decode("latin-1")


def without_token(query: str) -> str:
    """Return a query without Jupyter's token."""
    if "token" not in query:
        return query
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, value) for name, value in pairs if name != "token"])


def location_below(location: str, asked: str, prefix: str) -> str | None:
    """Return where a redirect leads below the prefix; None where it leads away from the engine.

    `asked` is the engine's own address that has answered with it.
    """
    if "\\" in location or any(ord(sign) < 33 for sign in location):
        return None
    try:
        target, base = urlsplit(urljoin(asked, location)), urlsplit(asked)
    except ValueError:  # such as half an IPv6 address
        return None
    ours = (target.scheme, target.netloc) == (base.scheme, base.netloc)
    if not ours and f"{target.scheme}://{target.netloc}" != PLACEHOLDER:
        return None
    path = re.sub("^/+", "", target.path)
    if ".." in map(unquote, path.split("/")):  # a browser goes up at "%2e." as well
        return None
    return prefix + _ascii(path) + (f"?{_ascii(target.query)}" if target.query else "")


def _ascii(text: str) -> str:
    """Return a part of an address with what is not ASCII in it quoted, as a header takes it."""
    return "".join(
        sign if sign.isascii() else quote(sign, errors="surrogateescape") for sign in text
    )


def rewrite_page(body: bytes, prefix: str, origin: str, limit: int) -> bytes:
    """Return the one page of an engine, told where it stands, with our script before its own."""
    root = json.dumps(prefix.rstrip("/")).encode()
    body = _ROOT.sub(lambda found: found[1] + root, body, count=1)
    body = body.replace(PLACEHOLDER.encode(), (origin + prefix.rstrip("/")).encode())
    script = _script().replace(b"LIMIT", str(limit).encode())
    script = b"<script>" + script + b"</script>"
    head = _HEAD.search(body)
    return body[: head.end()] + script + body[head.end() :] if head else script + body


@cache
def _script() -> bytes:
    return _SCRIPT.read_bytes()


class Replacer:
    """Replaces the placeholder in an answer that comes in pieces, however they were cut."""

    def __init__(self, origin: str, prefix: str) -> None:
        self._old = PLACEHOLDER.encode()
        self._new = (origin + prefix.rstrip("/")).encode()
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """Return what is certain by now."""
        data = (self._kept + data).replace(self._old, self._new)
        keep = next(
            (size for size in range(len(self._old) - 1, 0, -1) if data.endswith(self._old[:size])),
            0,
        )
        self._kept = data[len(data) - keep :]
        return data[: len(data) - keep]

    def end(self) -> bytes:
        """Return what was kept back."""
        return self._kept
