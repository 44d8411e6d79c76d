"""Every handler and route, called anonymously, by a foreign page, with a forged file, and as another user."""

from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any, cast

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gradio.routes import App
from starlette.routing import Mount

from app import main
from app.security.identity import PUBLIC

Web = Callable[..., TestClient]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FOREIGN = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "https://localhost:7860"},
    {"origin": "http://localhost:7861"},
    {"origin": "http://localhost.evil.example:7860"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]
OTHER_HOSTS = ["evil.example", "localhost.evil.example", "127.0.0.2", "169.254.169.254", ""]
FORGED = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}


def gradio_of(app: FastAPI) -> Any:
    """The mounted Gradio app, unwrapped from its middleware if necessary."""
    mounted = [getattr(r.app, "app", r.app) for r in app.routes if isinstance(r, Mount)]
    [found] = [inner for inner in mounted if isinstance(inner, App)]
    return found


def handlers(app: FastAPI) -> Iterator[tuple[int, Any]]:
    """Every event with a handler function."""
    yield from gradio_of(app).get_blocks().fns.items()


def routes(of: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All routes of an app or router with their paths, including those of included routers."""
    for route in of.routes:
        mounted = getattr(route, "app", None)
        if isinstance(route, Mount) and isinstance(mounted, FastAPI):
            yield from routes(mounted, prefix + route.path)
            continue
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from routes(included, prefix + route.include_context.prefix)
        else:
            yield prefix + str(getattr(route, "path", "")), route


def requests(app: FastAPI) -> Iterator[tuple[str, str]]:
    """A method and a path for every route, ours and Gradio's, with parameters filled in."""
    for path, route in [*routes(app), *routes(gradio_of(app))]:
        for name in getattr(route, "param_convertors", {}):
            path = path.replace(f"{{{name}:path}}", "x").replace(f"{{{name}}}", "1")
        for method in getattr(route, "methods", None) or ():
            yield method, path


def call(fn_index: int, data: list[Any], session: str = "walk") -> dict[str, Any]:
    return {"fn_index": fn_index, "data": data, "session_hash": session, "event_data": None}


def test_the_walk_sees_the_app(web: Web) -> None:
    app: Any = web().app
    assert len(list(handlers(app))) > 50
    paths = {path for _, path in requests(app)}
    assert {"/", "/launch", "/login", "/gradio_api/upload", "/gradio_api/queue/join", "/config"} <= paths
    assert len(paths) > 60


def test_nobody_reaches_nothing_without_a_login(web: Web) -> None:
    client = web()
    app: Any = client.app
    for method, path in requests(app):
        if path in PUBLIC:
            continue
        status = client.request(method, path).status_code
        page = method == "GET" and path in main.page_paths()
        assert status == 303 if page else status == 401, f"{method} {path}: {status}"
    for fn_index, fn in handlers(app):
        answer = client.post("/gradio_api/queue/join", json=call(fn_index, [None] * len(fn.inputs)))
        assert answer.status_code == 401, fn_index


@pytest.mark.parametrize("turn", [0, 3])
def test_a_page_of_another_site_does_nothing(web: Web, turn: int) -> None:
    """The routes and handlers take turns at the headers, from a different one each time."""
    client = web("ann")
    app: Any = client.app
    foreign = islice(cycle(FOREIGN), turn, None)
    for (method, path), headers in zip(requests(app), foreign, strict=False):
        answer = client.request(method, path, headers={**headers, "sec-fetch-mode": "cors"})
        assert answer.status_code == 403, f"{method} {path}: {answer.status_code} for {headers}"
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    for (fn_index, fn), headers in zip(handlers(app), foreign, strict=False):
        given = call(fn_index, [None] * len(fn.inputs))
        answer = client.post("/gradio_api/queue/join", json=given, headers=headers)
        assert answer.status_code == 403, f"handler {fn_index}: {answer.status_code} for {headers}"


def test_no_other_host_is_served(web: Web) -> None:
    client = web("ann")
    app: Any = client.app
    for (method, path), host in zip(requests(app), cycle(OTHER_HOSTS), strict=False):
        answer = client.request(method, path, headers={"host": host})
        assert answer.status_code == 421, f"{method} {path}: {answer.status_code} for {host!r}"
    for host in OTHER_HOSTS:
        assert client.get("/launch", headers={"host": host}).status_code == 421


def test_no_handler_takes_a_file_that_this_user_did_not_upload(web: Web) -> None:
    ann, bob = web("ann"), web("bob")
    app: Any = ann.app
    anns = ann.post("/gradio_api/upload", files={"files": ("pairs.jsonl", b"{}")}).json()[0]
    forged = [
        FORGED,
        {"path": "/proc/self/environ"},
        {**FORGED, "path": anns},
        {**FORGED, "path": anns + "/../.."},
    ]
    for fn_index, fn in handlers(app):
        for place in range(len(fn.inputs)):
            for given in (*forged, [FORGED], {"file": FORGED}) if place == 0 else ([FORGED],):
                data: list[Any] = [None] * len(fn.inputs)
                data[place] = given
                answer = bob.post("/gradio_api/queue/join", json=call(fn_index, data, "bobs"))
                assert answer.status_code == 403, f"handler {fn_index}, input {place}: {given}"


def test_no_handler_runs_in_the_session_of_another_user(web: Web) -> None:
    ann, bob = web("ann"), web("bob")
    app: Any = ann.app
    indices = [index for index, _ in handlers(app)]
    first = ann.post("/gradio_api/cancel", json={"session_hash": "anns", "fn_index": 0, "event_id": "x"})
    assert first.status_code == 200
    for fn_index in indices:
        assert bob.post("/gradio_api/queue/join", json=call(fn_index, [], "anns")).status_code == 403
    assert bob.get("/gradio_api/queue/data?session_hash=anns").status_code == 403
    cancelling = {"session_hash": "anns", "fn_index": 0, "event_id": "x"}
    assert bob.post("/gradio_api/cancel", json=cancelling).status_code == 403


def test_no_handler_takes_markup_from_the_browser(web: Web) -> None:
    app: Any = web().app
    for fn_index, fn in handlers(app):
        markup = [type(part).__name__ for part in fn.inputs if isinstance(part, gr.HTML | gr.Markdown)]
        assert markup == [], (
            f"handler {fn_index} ({fn.api_name}) has an input that a browser could fill with markup"
        )


def test_of_gradio_only_what_the_pages_need_is_there(web: Web) -> None:
    client = web("ann")
    for path in (
        "/gradio_api/token",
        "/gradio_api/deep_link?session_hash=walk",
        "/gradio_api/openapi.json",
        "/openapi.json",
        "/docs",
        "/redoc",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/runs",
        "/gradio_api/file/etc/hostname",
        "/gradio_api/vibe-code",
        "/gradio_api/heartbeat/walk",
        "/gradio_api/dev/reload",
        "/monitoring",
        "/monitoring/summary",
        "/logout",
    ):
        assert client.get(path).status_code in (404, 405), path
    assert client.post("/gradio_api/component_server", json={}).status_code == 404


def test_a_tab_holds_no_connection_and_few_tabs_are_remembered(web: Web) -> None:
    gradio = gradio_of(cast(FastAPI, web().app))
    assert gradio.get_blocks().config["connect_heartbeat"] is False
    assert gradio.state_holder.capacity == main.MOST_TABS


def test_a_deep_link_is_ignored(web: Web) -> None:
    client = web("ann")
    page = client.get("/launch?deep_link=abc")
    assert page.status_code == 200
    assert '"deep_link_state":"none"' in page.text.replace(": ", ":")
