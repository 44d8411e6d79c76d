"""Errors: one shape, one sentence, never foreign values or a traceback."""

import errno
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from app.rest import application
from app.settings import Settings, get_settings
from app.store.full_disk import DiskFull
from tests.app.rest.conftest import refused
from tests.web_server import rest_api


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OperationalError("SELECT secret", {}, Exception("connection refused")), 503),
        (DiskFull("INSERT", {}, Exception("database or disk is full")), 507),
        (OSError(errno.ENOSPC, "No space left on device", "/secret"), 507),
        (OSError(errno.EACCES, "Permission denied", "/secret"), 503),
        (RuntimeError("secret"), 500),
    ],
)
def test_what_fails_below_is_said_without_its_details(
    settings: Settings, error: Exception, status: int
) -> None:
    app = application.build(get_settings())

    def fail() -> None:
        raise error

    app.add_api_route("/fail", fail)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert "secret" not in refused(client.get("/fail"), status)


def test_an_unknown_address_and_method_have_the_shape_too(settings: Settings) -> None:
    with TestClient(rest_api()) as client:
        assert "/api/v1/docs" in refused(client.get("/nothing"), 404)
        assert "/api/v1/docs" in refused(client.patch("/runs"), 405)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"{", "application/json", "not valid JSON"),
        (b"{}", "text/plain", "must be a JSON object"),
        (b"[]", "application/json", "must be a JSON object"),
        (b'"\\ud800"', "application/json", "must be a JSON object"),
        (b"[" * 100_000, "application/json", ""),
        (b"1" * 100_000, "application/json", ""),
        (b"\xff\xfe{", "application/json", ""),
        (b"", "application/json", "must be a JSON object"),
    ],
)
def test_bodies_that_are_no_json(settings: Settings, content: bytes, kind: str, said: str) -> None:
    with TestClient(rest_api(), raise_server_exceptions=False) as client:
        answer: Any = client.post("/runs", content=content, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422)
    assert said in answer.json()["message"]
