"""``/fooocus-nb/ui``: the way to an engine's own page, and the page itself behind a secret."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from tornado import web

from fooocus_nb.server import _proxy_rewrite as rewrite
from fooocus_nb.server._proxy_pages import Refused
from fooocus_nb.server.page_answers import PageAnswers, page_table
from fooocus_nb.server.versions import why_no_page

if TYPE_CHECKING:
    from tornado.web import RequestHandler

__all__ = ["forgetting", "ui_routes"]

UI = "/fooocus-nb/ui"


class EntryHandler(PageAnswers):
    """Asks for Jupyter's login and leads to the page's secret address."""

    @web.authenticated
    @authorized("execute")  # type: ignore[untyped-decorator]
    async def get(self, name: str) -> None:
        """Redirect to the page of the engine with this name."""
        if (why := why_no_page()) is not None:
            self.refuse(501, why)
            return
        user = self.current_user.username
        try:
            page = await asyncio.to_thread(page_table(self.settings).open, name, user)
        except Refused as refused:
            self.refuse(refused.status, refused.text)
            return
        # As the browser has spelled it, and without Jupyter's token.
        path, query = self.request.path.rstrip("/"), rewrite.without_token(self.request.query)
        self.redirect(f"{path}/{page.secret}/" + (f"?{query}" if query else ""))


class NoPageHandler(PageAnswers):
    """Says that there is nothing, or why no page is served here."""

    @allow_unauthenticated
    async def get(self) -> None:
        """Say it."""
        why = why_no_page()
        if why is None:
            self.refuse(404, "Name an engine: /fooocus-nb/ui/NAME/.")
        else:
            self.refuse(501, why)


def forgetting(logout: type[RequestHandler]) -> type[RequestHandler]:
    """Return a server's own handler of a logout, after which the identity's pages are gone."""

    class ForgettingLogout(logout):  # type: ignore[misc, valid-type]
        def on_finish(self) -> None:
            super().on_finish()
            if (user := self.current_user) is not None:
                page_table(self.settings).forget(user.username)

    return ForgettingLogout


def ui_routes() -> tuple[tuple[str, type[RequestHandler]], ...]:
    """Return pattern and handler of each route."""
    entry = (rf"{UI}/([^/]+)/?", EntryHandler)
    if why_no_page() is not None:
        return (entry, (rf"{UI}(?:/.*)?", NoPageHandler))
    from fooocus_nb.server._proxy import PageHandler

    page = (rf"{UI}/(?P<name>[^/]+)/(?P<secret>[^/]+)(?:/.*)?", PageHandler)
    return (entry, page, (rf"{UI}(?:/.*)?", NoPageHandler))
