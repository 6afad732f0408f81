"""A hostile page in the place of an engine's: what it can't do to the user of a Jupyter server."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fooocus_nb.engine.page_records import record_page

from .bidi import run_firefox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Frame

PAGE = Path(__file__).resolve().parents[1] / "servers" / "hostile_page.html"
WAIT_MS = 90_000
#: Tried and not seen from the page itself: what the server and the browser hold is looked at.
UNSEEN = {"beacon", "navigateTop", "submitForm", "submitFormInTab"}
HEADERS = (
    ("Set-Cookie", "hostile=header; Path=/"),
    ("Set-Cookie", "_xsrf=fixed; Path=/user/x/"),
    ("Clear-Site-Data", '"cookies", "storage"'),
    ("Service-Worker-Allowed", "/"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Refresh", "0; url=/user/x/lab"),
    ("X-Accel-Redirect", "/user/x/api/contents"),
    ("Content-Security-Policy", "sandbox allow-same-origin allow-scripts allow-top-navigation"),
)


class Hostile(BaseHTTPRequestHandler):
    """Gives the page, with every header that could hurt, and remembers what it was told."""

    told: list[str]

    def do_GET(self) -> None:
        self.told.append(f"{self.requestline}\n{self.headers}")
        body = PAGE.read_bytes()
        kind = "text/html"
        if self.path.startswith("/worker.js"):
            body, kind = b"self.onfetch = () => {};", "text/javascript"
        self.send_response(200)
        for name, value in (*HEADERS, ("Content-Type", kind), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hostile() -> Iterator[type[Hostile]]:
    """A hostile server that this process is connected to, as ``hostile``."""
    handler = type("OneHostile", (Hostile,), {"told": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    record = record_page("hostile", f"http://127.0.0.1:{server.server_address[1]}")
    yield handler
    record.path.unlink(missing_ok=True)
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(params=["*", pytest.param("", marks=pytest.mark.slow)], ids=["any", "own"])
def lab(
    request: pytest.FixtureRequest, run_jupyter: Callable[..., Any], tmp_path: Path
) -> Iterator[Any]:
    """A server behind a base URL; with ``*`` other origins may ask it, as some set it up."""
    options = (f"--ServerApp.allow_origin={request.param}", "--ServerApp.allow_credentials=True")
    with run_jupyter(tmp_path / "jupyter", *options, base_url="/user/x/") as server:
        yield server


def ask(lab: Any, path: str, method: str = "GET") -> Any:
    request = urllib.request.Request(
        f"{lab.url}/{path}",
        method=method,
        headers={"Authorization": f"token {lab.token}"},
        data=b"" if method == "POST" else None,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def state_of(lab: Any) -> tuple[Any, ...]:
    """What a hostile page may not change."""
    files = sorted(entry["name"] for entry in ask(lab, "api/contents")["content"])
    kernels = sorted(kernel["id"] for kernel in ask(lab, "api/kernels"))
    return files, kernels, sorted(each["name"] for each in ask(lab, "api/terminals"))


def outcomes(frame: Frame) -> dict[str, str]:
    frame.wait_for_function("window.finished", timeout=WAIT_MS)
    return frame.evaluate("results")


def framed(context: BrowserContext, lab: Any, address: str) -> tuple[Any, Frame]:
    """Open the page in a frame of a page of Jupyter's own, with nothing but its headers."""
    page = context.new_page()
    page.goto(f"{lab.url}/no-such-page")
    page.evaluate(
        """address => {
          const frame = document.createElement("iframe");
          frame.src = address;
          document.body.append(frame);
        }""",
        address,
    )
    frame = page.wait_for_selector("iframe").content_frame()
    frame.wait_for_url("**/fooocus-nb/ui/hostile/*/**", timeout=WAIT_MS)
    return page, frame


def assert_refused(*all_found: dict[str, str]) -> None:
    for found in all_found:
        assert len(found) > len(UNSEEN)
        assert [
            f"{name}: {said}"
            for name, said in found.items()
            if name not in UNSEEN and not said.startswith("refused")
        ] == []


def assert_told_nothing(hostile: type[Hostile], lab: Any, cookies: dict[str, str]) -> None:
    """Nothing of Jupyter's has reached the engine; its own cookies are kept for it."""
    told = "\n".join(hostile.told)
    assert "GET /" in told
    for secret in (lab.token, "token=", *cookies.values()):
        assert secret not in told
    assert set(re.findall(r"(?im)^cookie: (.*?)\r?$", told)) <= {"hostile=header; _xsrf=fixed"}
    for name in ("authorization", "x-xsrftoken", "referer", "origin"):
        assert f"\n{name}:" not in told.lower()


def test_a_hostile_page_is_nobody(browser: Browser, lab: Any, hostile: type[Hostile]) -> None:
    kernel = ask(lab, "api/kernels", "POST")["id"]
    terminal = ask(lab, "api/terminals", "POST")["name"]
    context = browser.new_context()
    context.request.get(f"{lab.url}/api/status?token={lab.token}")
    context.request.get(f"{lab.url}/tree")  # which gives the cookie against XSRF
    before, cookies = state_of(lab), {each["name"]: each["value"] for each in context.cookies()}
    assert any(name.startswith("username-") for name in cookies)
    query = f"?kernel={kernel}&terminal={terminal}&token={lab.token}"
    address = f"{lab.url}/fooocus-nb/ui/hostile/{query}"

    page, frame = framed(context, lab, address)
    in_frame = outcomes(frame)
    assert page.url == f"{lab.url}/no-such-page"
    tab = context.new_page()
    tab.goto(address)
    in_tab = outcomes(tab.main_frame)

    assert_refused(in_frame, in_tab)
    assert state_of(lab) == before
    after = {each["name"]: each["value"] for each in context.cookies()}
    assert "hostile" not in after
    assert after == cookies
    assert_told_nothing(hostile, lab, cookies)
    context.close()


@pytest.mark.slow
def test_the_tries_succeed_where_nothing_keeps_the_page_apart(
    browser: Browser, lab: Any, hostile: type[Hostile]
) -> None:
    """The same page without the policy: so the test above can fail."""
    kernel = ask(lab, "api/kernels", "POST")["id"]
    terminal = ask(lab, "api/terminals", "POST")["name"]
    context = browser.new_context()
    context.request.get(f"{lab.url}/tree?token={lab.token}")

    def strip(route: Any) -> None:
        answer = route.fetch()
        kept = {k: v for k, v in answer.headers.items() if k != "content-security-policy"}
        route.fulfill(response=answer, headers=kept)

    # What leads to the page is fetched with it: of a redirect only the beginning can be changed.
    context.route(re.compile("/fooocus-nb/ui/hostile/"), strip)
    query = f"?kernel={kernel}&terminal={terminal}&token={lab.token}"
    page = context.new_page()
    page.goto(f"{lab.url}/fooocus-nb/ui/hostile/{query}")
    found = outcomes(page.main_frame)
    # Of fetch() and WebSocket our own script in the page takes the cookies away.
    for name in ("readCookie", "setCookie", "readLab"):
        assert found[name].startswith("done"), found
    assert found["callOldApi"] == "done: read 200", found
    context.close()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("firefox-esr") is None, reason="there is no Firefox here")
def test_a_hostile_page_is_nobody_in_firefox(
    lab: Any, hostile: type[Hostile], tmp_path: Path
) -> None:
    kernel = ask(lab, "api/kernels", "POST")["id"]
    terminal = ask(lab, "api/terminals", "POST")["name"]
    query = f"?kernel={kernel}&terminal={terminal}&token={lab.token}"
    address = f"{lab.url}/fooocus-nb/ui/hostile/{query}"
    with run_firefox(str(shutil.which("firefox-esr")), tmp_path / "firefox") as firefox:
        firefox.open(f"{lab.url}/tree?token={lab.token}")
        firefox.open(f"{lab.url}/tree")  # which gives the cookie against XSRF of who is logged in
        before, cookies = state_of(lab), firefox.cookies()
        assert any(name.startswith("username-") for name in cookies)

        firefox.open(f"{lab.url}/no-such-page")
        firefox.value(
            "(() => { const frame = document.createElement('iframe');"
            f"frame.src = {json.dumps(address)}; document.body.append(frame); }})()"
        )
        firefox.wait_for("frames.length")
        deadline = time.monotonic() + WAIT_MS / 1000
        while "/fooocus-nb/ui/hostile/" not in (frame := firefox.contexts(firefox.tab)[0])["url"]:
            assert time.monotonic() < deadline, frame
            time.sleep(0.1)
        firefox.wait_for("window.finished", frame["context"])
        in_frame = firefox.value("results", frame["context"])
        assert firefox.value("location.href") == f"{lab.url}/no-such-page"
        # Its own navigations come in the way of whoever waits for this one.
        firefox.open(address, wait="none")
        firefox.wait_for("window.finished")
        in_tab = firefox.value("results")

        assert_refused(in_frame, in_tab)
        assert state_of(lab) == before
        after = firefox.cookies()
        # A frame of Jupyter's within the page is asked for without cookies, and Firefox takes the
        # token that Jupyter then makes anew: it is Jupyter's own, and the page does not know it.
        assert re.fullmatch(r"2\|[0-9a-f]{8}\|[0-9a-f]+\|\d+", after.pop("_xsrf"))
        cookies.pop("_xsrf")
        assert after == cookies
    assert_told_nothing(hostile, lab, cookies)
