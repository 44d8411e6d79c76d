"""Security headers of every response: which scripts may run, and which sites may embed or read it."""

import re
import secrets
from collections.abc import Callable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio compiles the `js` of events, hence 'unsafe-eval', and sets inline styles.
# Inline scripts need the nonce of their response, so injected markup does not run.
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; connect-src 'self'; "
    "worker-src 'self' blob:; manifest-src 'self'; object-src 'none'; frame-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
FIXED: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_CORS: Final = re.compile(rb"access-control-", re.IGNORECASE)
_GRADIO: Final = b"<gradio-app"
_END_OF_HEAD: Final = b"</head>"
_SCRIPT: Final = re.compile(rb"<script(?=[\s>])")


class ResponseHeaders:
    """Sets the headers above, removes CORS headers, and adds the nonce to the scripts of HTML pages.

    Args:
        in_head: makes HTML for the head of Gradio's pages as they are served; Gradio itself adds it after the
            first paint.
    """

    def __init__(self, app: ASGIApp, in_head: Callable[[], str] = str) -> None:
        self.app, self.in_head = app, in_head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        page = _Page(send, nonce, self.in_head)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                _set(message, nonce)
                if MutableHeaders(scope=message).get("content-type", "").startswith("text/html"):
                    page.start = message
                    return
            if page.start is not None:
                await page.take(message)
            else:
                await send(message)

        await self.app(_readable(scope), receive, sent)


class _Page:
    """An HTML response, buffered until it is complete, since nonces change its length."""

    def __init__(self, send: Send, nonce: str, in_head: Callable[[], str]) -> None:
        self.send, self.mark = send, f'<script nonce="{nonce}"'.encode()
        self.in_head = in_head
        self.start: Message | None = None
        self.body = bytearray()

    async def take(self, message: Message) -> None:
        self.body += message.get("body", b"")
        if message.get("more_body") or self.start is None:
            return
        body = bytes(self.body)
        if _GRADIO in body:
            body = body.replace(_END_OF_HEAD, self.in_head().encode() + _END_OF_HEAD, 1)
        body = _SCRIPT.sub(self.mark, body)
        headers = MutableHeaders(scope=self.start)
        if body:  # the response to a HEAD request has a length and no body
            headers["Content-Length"] = str(len(body))
        headers["Cache-Control"] = "no-store"  # a nonce is valid for one response
        await self.send(self.start)
        await self.send({"type": "http.response.body", "body": body})


def _set(message: Message, nonce: str) -> None:
    message["headers"] = [(k, v) for k, v in message.get("headers", []) if not _CORS.match(k)]
    headers = MutableHeaders(scope=message)
    headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
    for name, value in FIXED.items():
        headers[name] = value


def _readable(scope: Scope) -> Scope:
    """Drop Accept-Encoding from requests for pages, as a nonce cannot be added to a compressed page."""
    headers = dict(scope["headers"])
    if b"text/html" not in headers.get(b"accept", b""):
        return scope
    kept = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
    return {**scope, "headers": kept}
