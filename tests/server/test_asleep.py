"""Engines that sleep, as the server lists them, and an open page, which keeps its engine awake."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import jupyter_server
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from fooocus_nb.engine import listing, sleeping
from fooocus_nb.engine.state import EngineState
from fooocus_nb.server.versions import why_no_page

from .conftest import SMALL
from .live import until
from .test_engines import check_against


async def test_an_engine_that_sleeps_is_listed_and_can_be_asked_nothing(
    ask, start_demo, jp_base_url, jp_auth_header, jp_http_port
) -> None:
    engine = start_demo(name="tired")
    assert engine.sleep()
    (told,) = (await ask("/engines")).json["engines"]
    check_against("Engine", told)
    assert (told["name"], told["state"], told["pid"]) == ("tired", "asleep", 0)
    assert [kernel["pid"] for kernel in told["kernels"]] == [os.getpid()]
    assert (await ask("/engines/tired")).json == told
    for path, method in (("stop", "POST"), ("generation/skip", "POST"), ("log", "GET")):
        refused = await ask(f"/engines/tired/{path}", method)
        assert (refused.status, "is asleep" in refused.message) == (409, True)
    # Who would follow its log is told the same.
    follow = f"ws://127.0.0.1:{jp_http_port}{jp_base_url}fooocus-nb/api/engines/tired/log/follow"
    with pytest.raises(HTTPClientError) as closed:
        await websocket_connect(HTTPRequest(follow, headers=jp_auth_header))
    assert closed.value.code == 409
    generating = asyncio.get_running_loop().run_in_executor(
        None, lambda: engine.generate("a cat", image_number=1, **SMALL)
    )
    await generating
    await until(lambda: engine.state is EngineState.READY)
    told = (await ask("/engines/tired")).json
    assert (told["state"], told["pid"]) == ("ready", engine.pid)


async def test_one_that_lost_its_name_to_one_that_runs_is_found_by_its_number(
    ask, start_demo, http_server_client, jp_base_url, jp_auth_header, monkeypatch
) -> None:
    engine = start_demo(name="tired")
    assert engine.sleep()
    running: Any = SimpleNamespace(info=SimpleNamespace(name="tired", pid=1))
    monkeypatch.setattr(listing, "survey", lambda **_: [running])
    assert listing.find("tired") is running
    refused = await ask("/engines/tired-2/stop", "POST")
    assert (refused.status, "is asleep" in refused.message) == (409, True)
    if why_no_page() is None:
        with pytest.raises(HTTPClientError) as page:
            await http_server_client.fetch(
                f"{jp_base_url}fooocus-nb/ui/tired-2/",
                headers=jp_auth_header,
                follow_redirects=False,
            )
        assert page.value.code == 409


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this process for the Jupyter server alone, and not for a kernel as well."""
    monkeypatch.setattr(sleeping, "_users", lambda process: set())


@pytest.mark.skipif(
    jupyter_server.version_info[:2] < (2, 21), reason="below jupyter_server 2.21 there is no page"
)
async def test_an_open_page_keeps_its_engine_awake(
    ask, start_demo, others, http_server_client, jp_base_url, jp_auth_header, jp_http_port
) -> None:
    engine = start_demo(name="looked at")
    url = f"{jp_base_url}fooocus-nb/ui/looked%20at/"
    with pytest.raises(HTTPClientError) as redirect:
        await http_server_client.fetch(url, headers=jp_auth_header, follow_redirects=False)
    place = redirect.value.response.headers["Location"]
    page = await websocket_connect(
        HTTPRequest(
            f"ws://127.0.0.1:{jp_http_port}{place}fooocus-nb-open",
            headers={"Origin": "null", "Host": f"127.0.0.1:{jp_http_port}"},
        )
    )
    looks: list[object] = []
    held = engine._lifecycle.sleep._used_by_others
    await until(lambda: held(engine._process))
    engine._lifecycle.watchdog.well.subscribe(looks.append)
    engine.sleep_after = engine.watch_interval = 0.1
    await until(lambda: len(looks) > 10)
    assert engine.state is EngineState.READY
    page.close()
    await until(lambda: engine.state is EngineState.ASLEEP)
    # Whoever opens it now is told why there is no page.
    with pytest.raises(HTTPClientError) as refused:
        await http_server_client.fetch(url, headers=jp_auth_header, follow_redirects=False)
    assert refused.value.code == 409
    assert b"is asleep" in refused.value.response.body
