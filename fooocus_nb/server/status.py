"""``/status`` and ``/openapi.json``: what the extension is, and what it can do here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import web

from fooocus_nb import __version__
from fooocus_nb.server.base import Handler, RefusedError
from fooocus_nb.server.versions import why_no_page

__all__ = ["DOCUMENT_PATH", "DocumentHandler", "StatusHandler", "UnknownHandler", "document"]

DOCUMENT_PATH = Path(__file__).parent / "openapi.json"


class StatusHandler(Handler):
    """Says the version, and why the page of Fooocus is not served, where it is not."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Say it."""
        self.services.thumbnails.warm_up()  # a page asks for this before it asks for images
        reason = why_no_page()
        await self.finish({"version": __version__, "page": reason is None, "reason": reason})


class DocumentHandler(Handler):
    """Describes all of the API."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Send the OpenAPI document, with this server's base URL."""
        await self.finish(document(self.base_url))


class UnknownHandler(Handler):
    """What is asked for by no route: told as all else is, and only to who is logged in."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Refuse it."""
        raise RefusedError(404, "The API has no such address.")

    head = post = put = patch = delete = get


def document(base_url: str) -> dict[str, Any]:
    """Return the OpenAPI document of the API behind a server's base URL."""
    content: dict[str, Any] = json.loads(DOCUMENT_PATH.read_text(encoding="utf-8"))
    content["info"]["version"] = __version__
    content["servers"] = [{"url": url_path_join(base_url, "fooocus-nb", "api")}]
    return content
