"""The web app and its REST API, built once in a process: building the whole app takes ten seconds.

They read the settings at each request, so tests with separate home folders and databases share them.
"""

import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.routing import Mount

from app import main
from app.rest import application
from app.security.gradio_door import GradioDoor
from app.settings import get_settings


@cache
def shared_app() -> FastAPI:
    """The whole web app, with the settings of the first call as far as they are read while it is built."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return main.build()


def shared_blocks() -> gr.Blocks:
    """The pages of the whole web app."""
    (door,) = [
        route.app
        for route in shared_app().routes
        if isinstance(route, Mount) and isinstance(route.app, GradioDoor)
    ]
    return door.app.get_blocks()


def rest_api() -> FastAPI:
    """The REST API. It depends on one setting only, the size of uploads."""
    return _rest_api(get_settings().max_upload_mb)


@cache
def _rest_api(max_upload_mb: int) -> FastAPI:
    settings = get_settings()
    assert settings.max_upload_mb == max_upload_mb
    return application.build(settings)


@contextmanager
def served_app(app: FastAPI | None = None) -> Iterator[str]:
    """Serve an app, or a new one with the present settings, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app or main.build(), port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
