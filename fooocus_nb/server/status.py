"""``/status``: whether the extension answers, and what it can do here."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from fooocus_nb import __version__
from fooocus_nb.server.base import Handler
from fooocus_nb.server.versions import why_no_page

__all__ = ["StatusHandler"]


class StatusHandler(Handler):
    """Says the version, and why the page of Fooocus is not served, where it is not."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Say it."""
        await self.finish({"version": __version__, "page": why_no_page() or True})
