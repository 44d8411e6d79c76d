"""Compression of responses, and long-lived browser caching of files with content-hashed addresses."""

import re
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOR_GOOD: Final = "public, max-age=31536000, immutable"
A_WEEK: Final = "public, max-age=604800"
_HASHED: Final = re.compile(r"/assets/[^/]+-[\w-]{8}\d?\.(js|css|woff2?|ttf|svg|png)|/theme\.css")
"""Names that contain a hash of the content, followed by a digit where two names would collide."""
_FONTS: Final = re.compile(r"/static/(fonts|img|js)/.+")
SMALLEST: Final = 1024
"""Smallest response that is compressed, in bytes."""


class KeptByBrowsers:
    """Set Cache-Control on Gradio's files, which Gradio serves without it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept = _kept(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else ""
        if not kept:
            await self.app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 304):
                MutableHeaders(scope=message)["Cache-Control"] = kept
            await send(message)

        await self.app(scope, receive, sent)


def _kept(path: str) -> str:
    if _HASHED.fullmatch(path):
        return FOR_GOOD
    return A_WEEK if _FONTS.fullmatch(path) else ""


def add_delivery(app: FastAPI) -> None:
    """Compress responses outside all other middleware, which needs plain pages. Events stay uncompressed."""
    app.add_middleware(KeptByBrowsers)
    app.add_middleware(GZipMiddleware, minimum_size=SMALLEST, compresslevel=6)
