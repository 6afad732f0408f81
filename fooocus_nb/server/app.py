"""The extension itself: what can be configured, and what it starts in a Jupyter server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from jupyter_server.extension.application import ExtensionApp
from traitlets import CFloat, CInt, TraitError, validate

from fooocus_nb import __version__
from fooocus_nb.server.backstop import Backstop
from fooocus_nb.server.base_url import route
from fooocus_nb.server.directory import Directory
from fooocus_nb.server.events import SCHEMA_ID, SCHEMA_PATH, Changes
from fooocus_nb.server.page_answers import close_client
from fooocus_nb.server.routes import routes
from fooocus_nb.server.services import Limits, Services
from fooocus_nb.server.thumbnail_cache import ThumbnailCache
from fooocus_nb.server.ui import forgetting
from fooocus_nb.server.versions import why_no_page
from fooocus_nb.server.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Collection

    from traitlets import Bunch

__all__ = ["FooocusExtension"]

#: What waits for engines or files, for all requests together.
WORKERS = 8
#: As many commands run at once; each may wait for an engine for a minute.
COMMANDS = 16


class FooocusExtension(ExtensionApp):
    """Shows, opens and stops the engines of this user, and ends what kernels have left behind."""

    name = "fooocus_nb"
    version = __version__
    description = "Fooocus: engines, logs and images by the Jupyter server."
    extension_url = "/lab"
    load_other_extensions = True

    watch_interval = CFloat(
        2.0, help="Seconds between two looks at the engines, from 0.1. Default 2."
    ).tag(config=True)
    backstop_grace = CFloat(
        10.0,
        help="""Seconds that an engine may outlive all of its kernels before it is ended by this
        server; its guardian ends it within one. Default 10.""",
    ).tag(config=True)
    ping_interval = CFloat(
        25.0,
        help="""Seconds between two pings of a websocket, from 0.1: proxies close what is silent,
        some after 60 s. Default 25.""",
    ).tag(config=True)
    max_log_followers = CInt(
        32, help="How many websockets may follow logs at once. Default 32."
    ).tag(config=True)
    max_image_bytes = CInt(
        128 << 20, help="Bytes of the largest image that is sent. Default 128 MiB."
    ).tag(config=True)
    thumbnail_bytes = CInt(
        64 << 20, help="Bytes of thumbnails that are kept in memory. Default 64 MiB."
    ).tag(config=True)

    max_page_message = CInt(
        64_000_000,
        help="""Bytes of the largest message of a websocket between a browser and the page of
        Fooocus: with Gradio 3 an image that is uploaded or painted on is one. Default 64 MB.""",
    ).tag(config=True)

    _watch: Watch | None = None

    @validate("watch_interval", "backstop_grace", "ping_interval")
    def _validate_seconds(self, proposal: Bunch) -> float:
        if not 0.1 <= proposal["value"] < 1e6:
            msg = f"{proposal['trait'].name}={proposal['value']}: give seconds, 0.1 or more."
            raise TraitError(msg)
        return float(proposal["value"])

    @validate("max_log_followers", "max_image_bytes", "max_page_message", "thumbnail_bytes")
    def _validate_size(self, proposal: Bunch) -> int:
        if proposal["value"] < 0:
            msg = f"{proposal['trait'].name}={proposal['value']}: give 0 or more."
            raise TraitError(msg)
        return int(proposal["value"])

    @classmethod
    def load_into(cls, serverapp: Any) -> Self:
        """Load it into a running server, as its own manager does."""
        extension: Self = cls._load_jupyter_server_extension(serverapp)  # type: ignore[no-untyped-call]
        return extension

    def initialize_handlers(self) -> None:
        """Make what the handlers share, and add the routes."""
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="fooocus-nb-server")
        self._commands = ThreadPoolExecutor(COMMANDS, thread_name_prefix="fooocus-nb-commands")
        self._thumbnails = ThumbnailCache(self.thumbnail_bytes)
        self._directory = Directory(self._pool)
        limits = Limits(
            max_image_bytes=self.max_image_bytes,
            max_log_followers=self.max_log_followers,
            ping_interval=self.ping_interval,
            max_page_message=self.max_page_message,
        )
        services = Services(
            self.log, self._directory, self._thumbnails, self._pool, self._commands, limits
        )
        # Not by the trait `handlers`: the base URL is put before those as it is, though it may
        # hold what means something in a pattern, and has more than one spelling.
        web_app = self._server.web_app
        base_url = web_app.settings["base_url"]
        web_app.add_handlers(".*$", routes(base_url, services))
        for path, *rest in self._server.identity_provider.get_handlers():
            if path == "/logout" and len(rest) == 1:
                web_app.add_handlers(".*$", [(route(base_url, path), forgetting(rest[0]))])
        if (reason := why_no_page()) is not None:
            self.log.info(reason)

    async def _start_jupyter_server_extension(self, _serverapp: Any) -> None:
        """Begin to look at the engines, now that the event loop runs."""
        self._server.event_logger.register_event_schema(SCHEMA_PATH)
        self._watch = Watch(
            self._directory,
            Backstop(self.backstop_grace),
            Changes(self._emit),
            pool=self._pool,
            interval=self.watch_interval,
            kernels=self._kernels,
            note_activity=self._note_activity,
        )
        self._watch.start()

    async def stop_extension(self) -> None:
        """End what was started; the kernels end after this."""
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.stop()
            watch.finish()
        await close_client(self._server.web_app.settings)
        self._thumbnails.close()
        for pool in (self._pool, self._commands):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def _server(self) -> Any:
        """The server that this is loaded into; its own types are loose."""
        return self.serverapp

    def _kernels(self) -> Collection[str]:
        ids: list[str] = self._server.kernel_manager.list_kernel_ids()
        return ids

    def _emit(self, data: dict[str, Any]) -> None:
        self._server.event_logger.emit(schema_id=SCHEMA_ID, data=data)

    def _note_activity(self) -> None:
        """Let the server count as active: a kernel that only waits does not."""
        self._server.web_app.settings["last_activity_times"][self.name] = datetime.now(UTC)
