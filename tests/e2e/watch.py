"""Watches every page of a browser context: console errors, exceptions, and request targets."""

import time
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response

CUT_OFF = ("Connection errored out", "AbortError: ")
"""Logged by Gradio's client when a page is left with a request in flight."""

LEAVING_SECONDS = 5.0
HERE = ("127.0.0.1", "localhost")


class Watch:
    """Collects the problems of a browser context until `problems` is called."""

    def __init__(self, context: BrowserContext) -> None:
        self._found: list[str] = []
        self._cut_off: list[tuple[float, str]] = []
        self._left: list[float] = []
        context.on("console", self._console)
        context.on("weberror", lambda error: self._found.append(f"uncaught: {error.error}"))
        context.on("request", self._request)
        context.on("response", self._response)
        context.on("page", self._page)

    def problems(self) -> list[str]:
        """All problems that the developer tools would show."""
        unexplained = [
            text
            for when, text in self._cut_off
            if not any(abs(when - left) < LEAVING_SECONDS for left in self._left)
        ]
        return [*self._found, *unexplained]

    def _page(self, page: Page) -> None:
        page.on("close", lambda _: self._left.append(time.monotonic()))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        text = f"console of {message.page.url if message.page else 'a page'}: {message.text}"
        if any(words in message.text for words in CUT_OFF):
            self._cut_off.append((time.monotonic(), text))
        else:
            self._found.append(text)

    def _request(self, request: Request) -> None:
        if request.is_navigation_request():
            self._left.append(time.monotonic())
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in HERE:
            self._found.append(f"a request left this machine: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self._found.append(f"{response.status} for {response.request.method} {response.url}")
