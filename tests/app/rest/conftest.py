"""API clients on a real database of each backend."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from app.rest import application
from app.store import tokens
from app.store.db import write_session
from tests.web_server import rest_api


def served() -> FastAPI:
    """The API, mounted as in the web app."""
    outer = FastAPI(openapi_url=None)
    outer.mount(application.PREFIX, rest_api())
    return outer


@pytest.fixture
def api(engine: Engine) -> Iterator[TestClient]:
    """A client of the local user; errors of the app arrive as responses."""
    with TestClient(served(), base_url="http://testserver/api/v1/", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def as_user(engine: Engine) -> Callable[[str], dict[str, str]]:
    """Headers with a new token of a user."""

    def headers(user: str) -> dict[str, str]:
        with write_session() as session:
            return {"Authorization": f"Bearer {tokens.create(user, session=session)[1]}"}

    return headers


def ok(response: httpx.Response, status: int = 200) -> Any:
    """Assert the status of a response and return its JSON."""
    assert response.status_code == status, response.text
    return response.json() if response.content else None


def refused(response: httpx.Response, status: int, *, field: str | None = None) -> str:
    """Assert the status and field of an error and return its sentence."""
    problem = ok(response, status)
    assert set(problem) == {"status", "error", "field", "message"}
    assert problem["status"] == status
    assert problem["field"] == field, problem
    return str(problem["message"])


@pytest.fixture
def address(web_address: str, engine: Engine) -> str:
    """The address of the whole web app, on the database of this test."""
    return web_address
