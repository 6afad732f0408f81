"""The Jupyter server extension: engines seen, opened and stopped from outside of their kernels.

Loaded by a Jupyter server alone; nothing else imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fooocus_nb.server.app import FooocusExtension

__all__ = ["_jupyter_server_extension_points", "_load_jupyter_server_extension"]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell a Jupyter server what to load."""
    from fooocus_nb.server.app import FooocusExtension

    return [{"module": "fooocus_nb.server", "app": FooocusExtension}]


def _load_jupyter_server_extension(serverapp: Any) -> FooocusExtension:
    """Load the extension into a server that asks for the function alone."""
    from fooocus_nb.server.app import FooocusExtension

    return FooocusExtension.load_into(serverapp)
