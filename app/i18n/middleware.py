"""Answers each request in its language, and fills in the texts of Gradio's pages."""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.i18n.language import DEFAULT, preferred, speaking
from app.i18n.texts import filled_in

_GRADIO: Final = b"<gradio-app"
_CONFIGS: Final = ("/config", "/info")
"""Where Gradio serves the pages' components as JSON."""


class InItsLanguage:
    """Sets the language of a request, and replaces the marks in the pages that it gets."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        language = preferred(Headers(scope=scope))
        page = _Page(send, language, config=str(scope["path"]).endswith(_CONFIGS))
        with speaking(language):
            await self.app(scope, receive, page.take)


class _Page:
    """A response; a page's is held back until it is complete, since texts change its length."""

    def __init__(self, send: Send, language: str, *, config: bool) -> None:
        self.send, self.language, self.config = send, language, config
        self.start: Message | None = None
        self.body = bytearray()

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._has_texts(message):
            self.start = message
        elif self.start is None:
            await self.send(message)
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self.start)

    def _has_texts(self, start: Message) -> bool:
        kind = MutableHeaders(scope=start).get("content-type", "")
        return kind.startswith("text/html") or (self.config and kind.startswith("application/json"))

    async def _finish(self, start: Message) -> None:
        body = bytes(self.body)
        if _GRADIO in body or self.config:
            body = filled_in(body, self.language)
        if _GRADIO in body:
            body = body.replace(f'lang="{DEFAULT}"'.encode(), f'lang="{self.language}"'.encode(), 1)
        headers = MutableHeaders(scope=start)
        if body:  # the response to a HEAD request has a length and no body
            headers["Content-Length"] = str(len(body))
        headers.add_vary_header("Accept-Language")
        headers.add_vary_header("Cookie")
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})
