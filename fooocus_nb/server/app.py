"""The extension itself: what can be configured, and what it starts in a Jupyter server."""

from __future__ import annotations

from typing import Any, Self

import traitlets
from jupyter_server.extension.application import ExtensionApp

from fooocus_nb import __version__
from fooocus_nb.server.routes import routes
from fooocus_nb.server.services import Services

__all__ = ["FooocusExtension"]


class FooocusExtension(ExtensionApp):
    """Shows, opens and stops the engines of this user, and ends what kernels have left behind."""

    name = "fooocus_nb"
    version = __version__
    extension_url = "/lab"
    load_other_extensions = True

    max_page_message = traitlets.Int(
        64_000_000,
        min=1_000_000,
        help="The largest websocket message, in bytes, between a browser and the page of Fooocus: "
        "an image that is uploaded, or painted on, is one message of Gradio 3.",
    ).tag(config=True)

    @classmethod
    def load_into(cls, serverapp: Any) -> Self:
        """Load it into a running server, as its own manager does."""
        extension: Self = cls._load_jupyter_server_extension(serverapp)
        return extension

    def initialize_handlers(self) -> None:
        """Add the routes."""
        # Not by the trait `handlers`: the base URL is put before those as it is, though it may
        # hold what means something in a pattern, and has more than one spelling.
        web_app = self.serverapp.web_app
        web_app.add_handlers(".*$", routes(web_app.settings["base_url"], Services(log=self.log)))
