"""Pages of other sites in a real browser: they may link to the app, but neither call nor frame it."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import App

pytestmark = pytest.mark.browser


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A foreign page on this machine: same site, but cross-origin."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><p>hello</p>")

        def log_message(self, *_: Any) -> None:
            """Silence the server's log."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def visitor(browser: Browser, elsewhere: str) -> Iterator[Page]:
    """A tab on the foreign page."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(elsewhere)
    yield page
    context.close()


def fetched(page: Page, url: str, options: dict[str, Any]) -> str:
    """The response text a page's script gets from an address, or the error."""
    script = "async ([url, options]) => { try { return await (await fetch(url, options)).text(); } " + (
        "catch (error) { return `refused: ${error}`; } }"
    )
    return str(page.evaluate(script, [url, options]))


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_a_foreign_page_calls_nothing(app: App, visitor: Page, mode: str) -> None:
    before = app.value("SELECT count(*) FROM runs")
    body = json.dumps({"fn_index": 0, "data": [], "session_hash": "foreign"})
    calls: list[tuple[str, dict[str, Any]]] = [
        ("config", {"mode": mode, "credentials": "include"}),
        ("gradio_api/queue/join", {"method": "POST", "body": body, "mode": mode, "credentials": "include"}),
        ("gradio_api/queue/data?session_hash=foreign", {"mode": mode, "credentials": "include"}),
        ("login", {"method": "POST", "mode": mode}),
    ]
    for path, options in calls:
        assert fetched(visitor, f"{app.url}/{path}", options).startswith("refused"), path
    assert app.value("SELECT count(*) FROM runs") == before


def test_a_foreign_page_frames_nothing(app: App, visitor: Page) -> None:
    visitor.evaluate(
        "url => new Promise(done => { const frame = document.createElement('iframe'); frame.onload = done; "
        "frame.src = url; document.body.append(frame); })",
        app.url,
    )
    framed = visitor.frames[1]
    assert framed.query_selector("gradio-app") is None


def test_a_link_from_elsewhere_opens_a_page(app: App, visitor: Page) -> None:
    visitor.evaluate("url => { window.location.href = url; }", f"{app.url}/runs")
    visitor.wait_for_selector("gradio-app h1")
    assert visitor.url == f"{app.url}/runs"


def test_another_name_for_this_machine_is_not_served(app: App, visitor: Page) -> None:
    port = app.url.rpartition(":")[2]
    answer = visitor.goto(f"http://rebound.localhost:{port}/")
    assert answer is not None
    assert answer.status == 421
    assert "HYPO_HOSTS" in visitor.content()
