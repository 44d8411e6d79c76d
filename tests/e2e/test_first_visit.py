"""Traffic of a first visit, of a second visit, and of idle pages."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import App

pytestmark = pytest.mark.browser

MOST_BYTES = 700_000
"""Compressed bytes over the network."""

MOST_BYTES_AGAIN = 100_000
SETTLED_MS = 2500


class Traffic:
    """The traffic of a page: addresses, response headers, and bytes over the network."""

    def __init__(self, page: Page) -> None:
        self.answers: dict[str, dict[str, str]] = {}
        self.bytes = 0
        network = page.context.new_cdp_session(page)
        network.on("Network.loadingFinished", self._finished)
        network.send("Network.enable")
        page.on("response", lambda answer: self.answers.update({answer.url: answer.headers}))

    def _finished(self, event: dict[str, float]) -> None:
        self.bytes += int(event["encodedDataLength"])


def test_a_first_visit_to_home_is_light_and_its_files_are_kept(app: App, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    traffic = Traffic(page)
    page.goto(app.url)
    expect(page.get_by_role("heading", name="Add preference pairs")).to_be_visible()
    page.wait_for_timeout(SETTLED_MS)
    assert 100_000 < traffic.bytes < MOST_BYTES
    assert [url for url in traffic.answers if "plotly" in url] == []
    assets = {url: headers for url, headers in traffic.answers.items() if "/assets/" in url}
    assert len(assets) > 10
    assert [url for url, kept in assets.items() if "immutable" not in kept.get("cache-control", "")] == []
    again = context.new_page()
    traffic = Traffic(again)
    again.goto(app.url)
    expect(again.get_by_role("heading", name="Add preference pairs")).to_be_visible()
    again.wait_for_timeout(SETTLED_MS)
    assert traffic.bytes < MOST_BYTES_AGAIN
    context.close()


def asked_in(page: Page, seconds: float) -> int:
    """The number of requests a page makes in a number of seconds."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1000 * seconds)
    return len(asked)


def settle(page: Page) -> None:
    """Wait until a page has asked nothing for a while; a busy machine takes longer to open it."""
    for _ in range(20):
        if asked_in(page, SETTLED_MS / 1000) == 0:
            return


def test_a_page_on_which_nothing_goes_on_is_quiet(app: App, twins: list[int], page: Page) -> None:
    page.goto(f"run?id={twins[0]}")
    expect(page.get_by_role("tab", name="Charts")).to_be_visible()
    settle(page)
    assert asked_in(page, 6) == 0
    page.goto("")
    expect(page.get_by_role("heading", name="Latest results")).to_be_visible()
    settle(page)
    assert asked_in(page, 9) <= 4  # one poll: a call, and its response as a stream
