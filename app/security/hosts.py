"""Validation of the Host header against known names, which prevents DNS rebinding."""

import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.replies import refuse

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_HOST = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::(?P<port>\d{1,5}))?", re.ASCII)


def split_host(header: str) -> tuple[str, int | None] | None:
    """Parse name and port of a Host header, such as `[::1]:7860` -> (`::1`, 7860); None if invalid."""
    match = _HOST.fullmatch(header.strip().lower())
    if match is None:
        return None
    port = match["port"]
    return (match["six"] or match["name"]).rstrip("."), int(port) if port else None


class KnownHosts:
    """Serves requests for loopback names and the configured names, and refuses any other Host."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self.app = app
        names = {name.strip().lower().rstrip(".") for name in hosts if name.strip()}
        self.exact = {*LOOPBACK, *(name for name in names if not name.startswith("*."))}
        self.suffixes = tuple(name[1:] for name in names if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._known(scope):
            await self.app(scope, receive, send)
            return
        sentence = (
            "This server does not answer to the host name of this request. Whoever runs it can add the name "
            "to HYPO_HOSTS."
        )
        await refuse(421, sentence, scope, receive, send)

    def _known(self, scope: Scope) -> bool:
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        host = split_host(given[0]) if len(given) == 1 else None
        return host is not None and (host[0] in self.exact or host[0].endswith(self.suffixes or ("\0",)))
