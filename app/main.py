"""The web app: builds the pages, mounts them on FastAPI and serves them. Run it with `python -m app.main`.

Every page is a module of `app.ui` whose `build()` is called inside its route. Pages poll rows on a timer and
never wait for a training event, so closing or reloading a page loses nothing.
"""

import argparse
import asyncio
import gc
import os
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

from app.ui import gradio as gr  # isort: split

from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from app import endpoints, health
from app.delivery import FOR_GOOD, add_delivery
from app.environment import keep_private
from app.errors import Refused
from app.i18n import N_, _
from app.i18n import scripts as texts
from app.i18n.language import LATER, speaking
from app.mcp.address import ADDRESS as MCP_ADDRESS
from app.mcp.address import METHODS as MCP_METHODS
from app.mcp.address import Endpoint
from app.rest import application as rest
from app.rest.errors import outside
from app.rest.moved import OldNames
from app.security import file_routes, files, login
from app.security.exposure import check_exposure
from app.security.sessions import user_of
from app.security.stack import secure
from app.settings import Settings, get_settings
from app.streams import drop_what_cannot_be_written
from app.ui import home, modules, plotly_js, theme
from app.ui.answer import page as answer_page
from app.ui.campaigns import page as campaigns_page
from app.ui.compare import page as compare_page
from app.ui.datasets import page as datasets_page
from app.ui.generations import page as generations_page
from app.ui.guard import guard
from app.ui.label import page as label_page
from app.ui.launch import page as launch_page
from app.ui.lineage import page as lineage_page
from app.ui.pairs import page as pairs_page
from app.ui.report import page as report_page
from app.ui.results import page as results_page
from app.ui.run import page as run_page
from app.ui.runs import page as runs_page
from app.ui.score import page as score_page
from app.ui.study import page as study_page
from app.ui.theme import Theme, css, head

TITLE = "HyPO Studio"
MOST_TABS = 300
"""Tabs whose state is kept; beyond it, those used longest ago start afresh. A tab's state takes 1 MB."""
P = ParamSpec("P")
T = TypeVar("T")


class Page(NamedTuple):
    """A page: its name in the navigation, its path and its builder."""

    name: str
    path: str
    build: Callable[[], None]
    in_navbar: bool = True


def pages() -> list[Page]:
    """All pages, in the order of the navigation; the first is the front page."""
    return [
        Page(N_("Home"), "", home.build),
        Page(N_("Datasets"), "datasets", datasets_page.build),
        Page(N_("Pairs"), "pairs", pairs_page.build, in_navbar=False),
        Page(N_("Launch"), "launch", launch_page.build),
        Page(N_("Runs"), "runs", runs_page.build),
        Page(N_("Run"), "run", run_page.build, in_navbar=False),
        Page(N_("Generations"), "generations", generations_page.build),
        Page(N_("Compare"), "compare", compare_page.build),
        Page(N_("Answer"), "answer", answer_page.build, in_navbar=False),
        Page(N_("Score a text"), "score", score_page.build, in_navbar=False),
        Page(N_("Campaigns"), "campaigns", campaigns_page.build),
        Page(N_("Label"), "label", label_page.build, in_navbar=False),
        Page(N_("Results"), "results", results_page.build),
        Page(N_("Reports"), "report", report_page.build),
        Page(N_("Lineage"), "lineage", lineage_page.build, in_navbar=False),
        Page(N_("Study"), "study", study_page.build, in_navbar=False),
    ]


class Pages(gr.Blocks):
    """All pages as one Gradio app. Gradio describes every page anew after each one; here once, after all."""

    complete = False

    def get_config_file(self) -> Any:
        """The description of all pages; an older one while pages are still added."""
        older = getattr(self, "config", None)
        return super().get_config_file() if self.complete or older is None else older


def _in_a_loop(make: Callable[P, T]) -> Callable[P, T]:
    """Call `make` inside an event loop. Without one, Gradio opens a loop for each lock and leaks it."""

    @wraps(make)
    def made(*given: P.args, **named: P.kwargs) -> T:
        async def call() -> T:
            return make(*given, **named)

        return asyncio.run(call())

    return made


@_in_a_loop
def build_blocks() -> gr.Blocks:
    """All pages as one Gradio app."""
    first, *others = pages()
    blocks = Pages(title=TITLE, analytics_enabled=False)
    with speaking(LATER):
        blocks.pages[0] = (first.path, _(first.name), first.in_navbar)  # Gradio calls it Home
        with blocks:
            first.build()
        for page in others:
            with blocks.route(_(page.name), f"/{page.path}", show_in_navbar=page.in_navbar):
                page.build()
    blocks.complete = True
    guard(blocks)
    blocks.state_session_capacity = MOST_TABS
    blocks.queue(default_concurrency_limit=None)  # the default runs one call of each handler at a time
    return blocks


def build(settings: Settings | None = None) -> FastAPI:
    """Build the whole web app."""
    settings = settings or get_settings()
    os.environ["GRADIO_TEMP_DIR"] = str(files.root())
    api = rest.build(settings)
    mcp = Endpoint(api)
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan(mcp))
    app.add_api_route("/healthz", healthz, methods=["GET"])
    app.add_api_route(f"/{plotly_js.ADDRESS}", plotly_js.serve, methods=["GET"])
    app.add_api_route("/page.js", page_js, methods=["GET"])
    app.add_api_route("/theme.js", theme_js, methods=["GET"])
    app.add_api_route(f"/{texts.ADDRESS}/{{name}}", texts.serve, methods=["GET"])
    app.add_api_route(f"/{modules.ADDRESS}/{{page}}/{{version}}/{{name}}", modules.serve, methods=["GET"])
    app.include_router(login.router)
    app.include_router(file_routes.router)
    app.mount(rest.PREFIX, api)
    app.router.routes.append(Route(MCP_ADDRESS, mcp, methods=MCP_METHODS))
    app.add_exception_handler(HTTPException, outside)
    blocks = build_blocks()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "SSR mode is not supported")  # warned about even when SSR is off
        _mount(app, blocks, settings)
    blocks.config["connect_heartbeat"] = False  # a connection per tab; a browser has six for all of them
    app.add_middleware(OldNames)
    secure(app, settings, page_paths(), in_head=first_scripts)
    add_delivery(app)
    return app


def _lifespan(mcp: Endpoint) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        async with file_routes.sweeping(), mcp.serving():
            yield

    return running


def page_paths() -> frozenset[str]:
    """The paths of all pages, with and without a trailing slash."""
    paths = {f"/{page.path}" for page in pages()} | {f"{rest.PREFIX}/docs"}
    return frozenset(paths | {f"{path}/" for path in paths if path != "/"})


@_in_a_loop
def _mount(app: FastAPI, blocks: gr.Blocks, settings: Settings) -> None:
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        auth_dependency=user_of,
        footer_links=[{"label": "REST API", "url": f"{rest.PREFIX}/docs"}],
        run_history=False,
        max_file_size=f"{settings.max_upload_mb}mb",
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        theme=Theme(),
        css=css(),
        head=head(),
        favicon_path=str(Path(__file__).with_name("ui") / "favicon.svg"),
    )
    blocks.has_launched = True  # else Gradio skips its checks of file paths; mounting does not set it


def first_scripts() -> str:
    """HTML for the head of each page: the scripts that run before the first paint."""
    return texts.texts_script() + theme.first_script() + texts.button_script()


def healthz() -> JSONResponse:
    """Health check: 200 when the database and the home folder accept a write, else 503 with the problems."""
    found = health.check()
    if found.ok:
        return JSONResponse({"status": "ok", "database": "ok", "home": "ok"})
    return JSONResponse({"status": "unavailable", **found.problems}, status_code=503)


def page_js() -> FileResponse:
    """Serve the script that all pages share. Its address changes with its content."""
    return FileResponse(theme.SCRIPT, media_type="text/javascript", headers={"Cache-Control": FOR_GOOD})


def theme_js() -> FileResponse:
    """Serve the script that sets the chosen theme before the first paint."""
    headers = {"Cache-Control": FOR_GOOD}
    return FileResponse(theme.FIRST_SCRIPT, media_type="text/javascript", headers=headers)


def run_server(settings: Settings) -> None:
    """Serve until the process is asked to stop."""
    import uvicorn

    app = build(settings)
    settle()
    uvicorn.run(
        app,
        host=settings.host,
        proxy_headers=False,  # app/security/proxies.py handles them and trusts only configured proxies
        server_header=False,
        port=settings.port,
        log_level="warning",
        timeout_graceful_shutdown=3,
    )


def settle() -> None:
    """Exclude the long-lived objects of the built app from garbage collection.

    A full collection over them stops all threads for a third of a second, every few hundred calls.
    """
    gc.collect()
    gc.freeze()


def main() -> None:
    """Serve on the address of the settings or the command line."""
    keep_private()
    drop_what_cannot_be_written()
    settings = get_settings()
    parser = argparse.ArgumentParser(description="Serve the HyPO Studio web app.")
    parser.add_argument("--host", default=settings.host)
    parser.add_argument("--port", type=int, default=settings.port)
    given = parser.parse_args()
    try:
        check_exposure(given.host, settings)
        endpoints.configured()
    except Refused as refused:
        sys.exit(str(refused))
    run_server(settings.model_copy(update={"host": given.host, "port": given.port}))


if __name__ == "__main__":
    main()
