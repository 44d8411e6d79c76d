"""The whole security middleware, in order."""

from collections.abc import Callable

from fastapi import FastAPI
from gradio.routes import App
from starlette.routing import Mount

from app.i18n.middleware import InItsLanguage
from app.security.gradio_door import GradioDoor
from app.security.headers import ResponseHeaders
from app.security.hosts import KnownHosts
from app.security.identity import Identity
from app.security.origins import OwnOrigin
from app.security.proxies import ForwardedHeaders
from app.settings import Settings


def secure(
    app: FastAPI, settings: Settings, pages: frozenset[str], *, in_head: Callable[[], str] = str
) -> None:
    """Add the middleware to an app with a mounted Gradio. The last one added is the outermost.

    Args:
        in_head: makes HTML for the end of each page's head.
    """
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, App):
            route.app = GradioDoor(route.app, pages, route.app.get_blocks().fns)
    app.add_middleware(Identity, pages=pages)
    app.add_middleware(OwnOrigin, pages=pages | {"/login"})
    app.add_middleware(KnownHosts, hosts=settings.host_names())
    app.add_middleware(ResponseHeaders, in_head=in_head)
    app.add_middleware(InItsLanguage)
    app.add_middleware(ForwardedHeaders, trusted=settings.proxy_networks())
