"""A Jupyter server with the extension in this process, and engines that it finds."""

from __future__ import annotations

import json
import os
import tempfile
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403
from tornado.httpclient import HTTPClientError

import fooocus_nb
from fooocus_nb.engine.folders import RUNTIME_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tornado.httpclient import HTTPResponse

    from fooocus_nb import Engine

#: A name that has to be quoted in an address.
NAME = "a b/c%"
SMALL = {"width": 64, "height": 64, "steps": 1}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the fuzzer out where its plugin is not loaded: nothing would be collected of it."""
    fuzzer = collection_path.name == "test_fuzz.py"
    return (fuzzer and not config.pluginmanager.hasplugin("schemathesis")) or None


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    """A runtime folder of the module's own; the path of a socket must be short."""
    from pathlib import Path

    with (
        tempfile.TemporaryDirectory(prefix="fnb-srv-") as folder,
        pytest.MonkeyPatch.context() as m,
    ):
        m.setenv(RUNTIME_VARIABLE, folder)
        yield Path(folder)


@pytest.fixture(scope="module")
def engine(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with three images, for tests that leave it as it is."""
    started = fooocus_nb.start(
        demo=True,
        name=NAME,
        output_dir=tmp_path_factory.mktemp("images"),
        env={"FOOOCUS_DEMO_STEP_SECONDS": "0"},
        timeout=60,
    )
    with started:
        started.generate("a cat", image_number=3, **SMALL)
        yield started


@pytest.fixture
def start_demo(runtime: Path, tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Start engines that are stopped after the test."""
    engines: list[Engine] = []

    def start(*, step: float = 0.0, **options: Any) -> Engine:
        options.setdefault("output_dir", tmp_path / "images")
        env = {"FOOOCUS_DEMO_STEP_SECONDS": str(step)}
        engines.append(fooocus_nb.start(demo=True, env=env, timeout=60, **options))
        return engines[-1]

    yield start
    for each in engines:
        each.stop()


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {
        "ServerApp": {
            "jpserver_extensions": {
                "fooocus_nb.server": True,
                "jupyter_server_terminals": False,
            },
            "allow_unauthenticated_access": False,
        },
        "FooocusExtension": {"watch_interval": 0.1},
    }


@pytest.fixture
def extension(jp_serverapp: Any, jp_asyncio_loop: Any, runtime: Path) -> Iterator[Any]:
    """The extension of the server; its regular look is started by the tests that need it."""
    loaded = jp_serverapp.web_app.settings["fooocus_nb"]
    yield loaded
    jp_asyncio_loop.run_until_complete(loaded.stop_extension())


class Answer:
    """An answer of the API, whatever its status."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.code
        self.headers = response.headers
        self.body = response.body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])


Ask = "Callable[..., Awaitable[Answer]]"


@pytest.fixture
def ask(
    extension: Any, http_server_client: Any, jp_auth_header: dict[str, str], jp_base_url: str
) -> Callable[..., Awaitable[Answer]]:
    """Send a request to the API as the user does; `path` is taken as it is."""

    async def send(
        path: str, method: str = "GET", headers: Any = None, extra: Any = None, **options: Any
    ) -> Answer:
        if method == "POST":
            options.setdefault("body", "")
        try:
            response = await http_server_client.fetch(
                f"{jp_base_url}fooocus-nb/api{path}",
                method=method,
                headers={**(jp_auth_header if headers is None else headers), **(extra or {})},
                request_timeout=60,
                follow_redirects=False,
                **options,
            )
        except HTTPClientError as error:
            if error.response is None:
                raise
            return Answer(error.response)
        return Answer(response)

    return send


def quoted(name: str = NAME) -> str:
    return urllib.parse.quote(name, safe="")


def as_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
