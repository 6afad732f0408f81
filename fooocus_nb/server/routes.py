"""The table of all routes of the extension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fooocus_nb.server.base_url import route
from fooocus_nb.server.status import StatusHandler
from fooocus_nb.server.ui import ui_routes

if TYPE_CHECKING:
    from tornado.web import RequestHandler

    from fooocus_nb.server.services import Services

    Arguments = dict[str, Any]

__all__ = ["routes"]

#: All routes are below these, behind the base URL.
API = "/fooocus-nb/api"

#: Pattern and handler of each route of the API.
API_ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = ((f"{API}/status", StatusHandler),)


def routes(base_url: str, services: Services) -> list[tuple[str, type[RequestHandler], Arguments]]:
    """Return all routes behind a server's base URL, each with what its handler is given."""
    return [
        (route(base_url, path), handler, {"services": services})
        for path, handler in (*API_ROUTES, *ui_routes())
    ]
