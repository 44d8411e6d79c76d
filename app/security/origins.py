"""Protection against cross-site requests: other sites may link to a page and nothing else.

Browsers send the origin in `Sec-Fetch-Site` (every request since 2023) and `Origin` (every request that may
change state). Programs send neither, or a bearer token, which a foreign page does not have.
"""

from collections.abc import Container
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.hosts import split_host
from app.security.identity import with_token
from app.security.replies import refuse

_PORTS = {"http": 80, "https": 443}


class OwnOrigin:
    """Refuses requests from other sites' pages, except navigation to a page."""

    def __init__(self, app: ASGIApp, pages: Container[str]) -> None:
        self.app = app
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not with_token(scope) and not self._loads_a_page(scope, headers) and _is_foreign(scope, headers):
            sentence = (
                "This request comes from the page of another site and was refused. Behind a "
                "proxy, list the proxy in HYPO_TRUSTED_PROXIES."
            )
            await refuse(403, sentence, scope, receive, send)
            return
        # Gradio adds CORS headers to the response only if the request has an Origin.
        kept = [(name, value) for name, value in scope["headers"] if name != b"origin"]
        await self.app({**scope, "headers": kept}, receive, send)

    def _loads_a_page(self, scope: Scope, headers: Headers) -> bool:
        """Whether this is a top-level navigation to a page, not in a frame."""
        return (
            scope["method"] in ("GET", "HEAD")
            and scope["path"] in self.pages
            and headers.get("sec-fetch-mode", "navigate") == "navigate"
            and headers.get("sec-fetch-dest", "document") == "document"
            and headers.get("origin") is None
        )


def _is_foreign(scope: Scope, headers: Headers) -> bool:
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origins = headers.getlist("origin")
    return bool(origins) and origins != [_own(scope, headers, origins[0])]


def _own(scope: Scope, headers: Headers, origin: str) -> str | None:
    """The origin if it is this app's, else None. Default ports are optional."""
    host = split_host(headers.get("host", ""))
    try:
        given = urlsplit(origin)
        port = given.port
    except ValueError:
        return None
    scheme = scope["scheme"]
    if host is None or given.scheme != scheme or f"{given.scheme}://{given.netloc}" != origin:
        return None
    same = (given.hostname, port or _PORTS.get(scheme)) == (host[0], host[1] or _PORTS.get(scheme))
    return origin if same else None
