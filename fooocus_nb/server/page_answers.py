"""What all answers below ``/fooocus-nb/ui`` have in common: headers, and errors as pages."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from jupyter_server.base.handlers import JupyterHandler

from fooocus_nb.server import _proxy_rewrite as rewrite
from fooocus_nb.server._proxy_pages import PageTable
from fooocus_nb.server.base import AUTH_RESOURCE

if TYPE_CHECKING:
    from fooocus_nb.server.services import Services

__all__ = ["CLIENT", "SECRET", "PageAnswers", "close_client", "page_table"]

#: Where a server's settings hold the client that asks engines.
CLIENT = "fooocus_nb_page_client"

#: A secret in an address, which no log may show.
SECRET = re.compile(r"(/fooocus-nb/ui/+[^/?]+/+)([^/?]+)")

_ASKED = "fooocus_nb_asked"
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")
_TABLE = "fooocus_nb_pages"
_REFUSED = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Fooocus</title>{refresh}
<style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;
margin:15vh auto;padding:0 1.5em}}h1{{font-size:1.2em}}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""
_TITLES = {404: "There is no such page", 503: "Not yet", 501: "Not here"}


class PageAnswers(JupyterHandler):
    """A handler whose every answer, an error as well, is nobody to Jupyter and is not kept."""

    auth_resource = AUTH_RESOURCE
    #: An open page is no activity.
    _track_activity = False

    def initialize(self, services: Services, **_: Any) -> None:
        """Take what all handlers share, and the secret out of what everybody logs."""
        self.services = services
        request = self.request
        if not hasattr(request, _ASKED):
            setattr(request, _ASKED, request.uri)
            request.uri = SECRET.sub(r"\1...", request.uri or "", count=1)
            request.path = SECRET.sub(r"\1...", request.path, count=1)

    @property
    def asked(self) -> str:
        """What the browser has asked for, as it was spelled, with the secret."""
        return str(getattr(self.request, _ASKED, self.request.uri) or "")

    def set_default_headers(self) -> None:
        """Add to Jupyter's headers what keeps a page apart from Jupyter."""
        super().set_default_headers()
        self.add_header("Content-Security-Policy", self._own_policy())
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_cors_headers()

    @property
    def content_security_policy(self) -> str:
        """Jupyter's own policy, without reports: those would tell a log the page's address."""
        kept = filter(None, map(str.strip, super().content_security_policy.split(";")))
        return "; ".join(each for each in kept if not each.lower().startswith("report-"))

    def set_cors_headers(self) -> None:
        """Let the page itself, which has no origin, ask for what belongs to it; nobody else."""
        for name in ("Credentials", "Headers", "Methods", "Origin"):
            self.clear_header(f"Access-Control-Allow-{name}")
        self.set_header("Access-Control-Allow-Origin", "null")

    def _own_policy(self) -> str:
        host = self.request.host if _HOST.fullmatch(self.request.host or "") else "localhost"
        return rewrite.page_policy(host, self._policy_prefix())

    def _policy_prefix(self) -> str:
        return "/"

    def refuse(self, status: int, text: str) -> None:
        """Answer with a page that says why not."""
        refresh = '<meta http-equiv="refresh" content="3">' if status == 503 else ""
        self.clear()  # what was meant for another answer
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        title = _TITLES.get(status, "This page is not served")
        self.finish(_REFUSED.format(refresh=refresh, title=title, text=html.escape(text)))

    def write_error(self, status_code: int, **_options: Any) -> None:
        """Answer an error with a page of its own: Jupyter's sets cookies and names its parts."""
        self.refuse(status_code, f"The server has refused this, or failed ({status_code}).")


def page_table(settings: dict[str, Any]) -> PageTable:
    """Return the pages of a server."""
    table = settings.setdefault(_TABLE, PageTable())
    return table if isinstance(table, PageTable) else PageTable()


async def close_client(settings: dict[str, Any]) -> None:
    """Close the connections to all engines, when the server ends."""
    client = settings.pop(CLIENT, None)
    if client is not None:
        await client.close()
