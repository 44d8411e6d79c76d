"""Where a request comes from: other sites may link to a page, and may do nothing else.

Browsers say so themselves, in `Sec-Fetch-Site` (every request since 2023) and `Origin` (every request that
may change something). Programs send neither, or a bearer token, which no foreign page has.
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
    """Refuse what another site's page sends, but for the loading of a page."""

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
        # Gradio answers a request that has an Origin with CORS headers; without one it does not.
        kept = [(name, value) for name, value in scope["headers"] if name != b"origin"]
        await self.app({**scope, "headers": kept}, receive, send)

    def _loads_a_page(self, scope: Scope, headers: Headers) -> bool:
        """Whether this is a link to a page, followed in a tab of its own (a frame is none)."""
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
    """The origin itself where it is this app's, else None; default ports may be written or left out."""
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
