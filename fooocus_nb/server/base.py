"""What all handlers of the API have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_server.base.handlers import APIHandler

if TYPE_CHECKING:
    from fooocus_nb.server.services import Services

__all__ = ["AUTH_RESOURCE", "Handler"]

#: What an authorizer is asked about.
AUTH_RESOURCE = "fooocus"


class Handler(APIHandler):
    """A handler of the API: JSON in, JSON out, for users who may use engines."""

    auth_resource = AUTH_RESOURCE
    #: A page that looks at engines now and then must not keep a hub's server alive; what a person
    #: asks for, such as a stop, does.
    _track_activity = False

    def initialize(self, services: Services, **_: Any) -> None:
        """Take what all handlers share."""
        self.services = services
