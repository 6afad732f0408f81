"""The table of all routes of the extension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fooocus_nb.server.base_url import route
from fooocus_nb.server.engines import (
    EngineHandler,
    EnginesHandler,
    GenerationHandler,
    RestartHandler,
    StopHandler,
)
from fooocus_nb.server.images import ImageHandler, ImagesHandler, ThumbnailHandler
from fooocus_nb.server.logs import LogFileHandler, LogFollower, LogHandler
from fooocus_nb.server.status import DocumentHandler, StatusHandler, UnknownHandler
from fooocus_nb.server.ui import ui_routes

if TYPE_CHECKING:
    from tornado.web import RequestHandler

    from fooocus_nb.server.services import Services

    Arguments = dict[str, Any]

__all__ = ["API_ROUTES", "routes"]

#: All routes of the API are below this, behind the base URL.
API = "/fooocus-nb/api"
#: A name in one piece, whatever is quoted in it.
NAME = r"(?P<name>[^/]+)"
IDENTITY = r"(?P<identity>[A-Za-z0-9_-]+)"

#: Pattern and handler of each route of the API.
API_ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = (
    (f"{API}/status", StatusHandler),
    (f"{API}/openapi\\.json", DocumentHandler),
    (f"{API}/engines", EnginesHandler),
    (f"{API}/engines/{NAME}", EngineHandler),
    (f"{API}/engines/{NAME}/stop", StopHandler),
    (f"{API}/engines/{NAME}/restart", RestartHandler),
    (f"{API}/engines/{NAME}/generation/(?P<verb>stop|skip)", GenerationHandler),
    (f"{API}/engines/{NAME}/log", LogHandler),
    (f"{API}/engines/{NAME}/log/file", LogFileHandler),
    (f"{API}/engines/{NAME}/log/follow", LogFollower),
    (f"{API}/engines/{NAME}/images", ImagesHandler),
    (f"{API}/images/{IDENTITY}", ImageHandler),
    (f"{API}/images/{IDENTITY}/thumbnail", ThumbnailHandler),
    (f"{API}/.*", UnknownHandler),
)


def routes(base_url: str, services: Services) -> list[tuple[str, type[RequestHandler], Arguments]]:
    """Return all routes behind a server's base URL, each with what its handler is given."""
    return [
        (route(base_url, path), handler, {"services": services})
        for path, handler in (*API_ROUTES, *ui_routes())
    ]
