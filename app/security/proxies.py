"""Forwarded headers: trusted from configured proxies, removed from all other requests."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

Network = IPv4Network | IPv6Network


class ForwardedHeaders:
    """Applies `X-Forwarded-For`, `-Proto` and `-Host` of a configured proxy, then drops all such headers.

    Gradio would build addresses from these headers, so inner middleware never sees them. Scheme, client and
    Host are already correct there.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str] = ()) -> None:
        self.app = app
        self.networks = [ip_network(entry, strict=False) for entry in trusted]
        self.apply = ProxyHeadersMiddleware(_without_forwarded(app), list(trusted))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif self._is_proxy(scope):
            await self.apply(_with_forwarded_host(scope), receive, send)  # type: ignore[arg-type]
        else:
            await _without_forwarded(self.app)(scope, receive, send)

    def _is_proxy(self, scope: Scope) -> bool:
        try:
            address = ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def _is_forwarded(name: bytes) -> bool:
    return name == b"forwarded" or name.startswith(b"x-forwarded-")


def _without_forwarded(app: ASGIApp) -> ASGIApp:
    async def passed_on(scope: Scope, receive: Receive, send: Send) -> None:
        kept = [(name, value) for name, value in scope["headers"] if not _is_forwarded(name)]
        await app({**scope, "headers": kept}, receive, send)

    return passed_on


def _with_forwarded_host(scope: Scope) -> Scope:
    """Replace Host by X-Forwarded-Host, if the proxy sent it."""
    asked = dict(scope["headers"]).get(b"x-forwarded-host")
    if asked is None:
        return scope
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {**scope, "headers": [*others, (b"host", asked)]}
