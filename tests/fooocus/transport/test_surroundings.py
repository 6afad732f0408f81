"""Proxies and certificates that the environment names and that cannot be used."""

from __future__ import annotations

import asyncio
import sys
import warnings
from typing import TYPE_CHECKING

import pytest

from fooocus_nb.errors import ConnectionLost, ParameterError
from fooocus_nb.fooocus.requests.images import download
from fooocus_nb.fooocus.transport.http import PROXY_VARIABLES, TRUST_VARIABLES, HttpSession

if TYPE_CHECKING:
    from pathlib import Path

#: A name that no server has, so that nothing is sent.
NOWHERE = "https://nowhere.invalid"
PROXIES = {
    "ALL_PROXY": "socks://me:hunter2@127.0.0.1:1080",
    "all_proxy": "socks5://127.0.0.1:1080",
    "HTTP_PROXY": "http://127.0.0.1:port",
    "https_proxy": "quic://127.0.0.1:1",
    "NO_PROXY": "[::1]",
}


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXY_VARIABLES, *map(str.lower, PROXY_VARIABLES), *TRUST_VARIABLES):
        monkeypatch.delenv(name, raising=False)


def connect(url: str = NOWHERE) -> None:
    session = HttpSession(url)

    async def ask() -> None:
        try:
            await session.request("GET", "/config")
        finally:
            await session.aclose()

    with pytest.raises(ConnectionLost, match="cannot be reached"):
        asyncio.run(ask())


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_that_cannot_be_used_is_told_and_done_without(monkeypatch, name: str) -> None:
    if "socks5" in PROXIES[name]:
        monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(name, PROXIES[name])
    with pytest.warns(UserWarning, match=f"No proxy can be used as {name} would have") as told:
        connect()
    assert "hunter2" not in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        connect()  # told once
        connect("http://127.0.0.1:1")  # where none is used


@pytest.mark.parametrize("what", ["gone", "folder", "no certificate"])
def test_certificates_that_cannot_be_read_are_told(monkeypatch, tmp_path: Path, what: str) -> None:
    place = tmp_path / "certificates"
    if what == "folder":
        place.mkdir()
    elif what == "no certificate":
        place.write_text("none")
    monkeypatch.setenv("SSL_CERT_FILE", str(place))
    with pytest.warns(UserWarning, match="No certificates can be read from what SSL_CERT_FILE"):
        connect()


def test_an_image_that_a_proxy_keeps_away_is_an_error_of_ours(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ParameterError, match=r"cannot be fetched.*socks"):
        download("image", f"{NOWHERE}/a.png")
