"""Access to the REST API: by session or token, never by another site's page."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from app.store import tokens
from app.store.db import write_session

Web = Callable[..., TestClient]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FOREIGN = {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}


@pytest.fixture
def token(web: Web) -> dict[str, str]:
    """The header with a token of bob."""
    with write_session() as session:
        return {"Authorization": f"Bearer {tokens.create('bob', session=session)[1]}"}


def test_a_session_or_a_token_says_who_calls(web: Web, token: dict[str, str]) -> None:
    assert web().get("/api/v1/me").status_code == 401
    assert web("ann").get("/api/v1/me").json() == {"user": "ann"}
    assert web().get("/api/v1/me", headers=token).json() == {"user": "bob"}
    assert web("ann").get("/api/v1/me", headers=token).json() == {"user": "bob"}
    assert web("ann").get("/api/v1/me", headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_token_opens_the_api_and_nothing_else(web: Web, token: dict[str, str]) -> None:
    assert web().get("/config", headers=token).status_code == 401
    assert web().get("/launch", headers=token).status_code == 303
    assert web().get("/gradio_api/file=/etc/hostname", headers=token).status_code == 401


def test_another_sites_page_does_nothing_with_a_session(web: Web, token: dict[str, str]) -> None:
    assert web("ann").put("/api/v1/comparisons/1/vote", headers=FOREIGN).status_code == 403
    assert web("ann").get("/api/v1/runs", headers=FOREIGN).status_code == 403
    assert web().get("/api/v1/runs", headers={**FOREIGN, **token}).status_code == 200
    assert web("ann").get("/api/v1/runs", headers={**FOREIGN, "Authorization": "x"}).status_code == 401


def test_people_are_asked_to_log_in_before_the_page_of_the_api(web: Web, token: dict[str, str]) -> None:
    answer = web().get("/api/v1/docs")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fapi%2Fv1%2Fdocs")
    assert web().get("/api/v1/openapi.json").status_code == 401
    assert web().get("/api/v1/docs", headers=token).status_code == 200
    shown = web("ann").get("/api/v1/docs")
    assert shown.status_code == 200
    assert "'self'" in shown.headers["content-security-policy"]


def test_who_calls_an_old_function_logs_in_first(web: Web) -> None:
    assert web().post("/gradio_api/call/vote", json={"data": []}).status_code == 401
    told = web("ann").post("/gradio_api/call/vote", json={"data": []})
    assert (told.status_code, "PUT /api/v1/comparisons" in told.text) == (410, True)
