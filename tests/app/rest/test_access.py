"""Access to the API: tokens, logins, the local user, and responses to unauthorized calls."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.settings import get_settings
from app.store import tokens
from app.store.db import read_session, write_session
from app.store.models import ApiToken
from tests.app.rest.conftest import ok, refused, served
from tests.web_server import rest_api

AsUser = Callable[[str], dict[str, str]]

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPO_AUTH", "ada:secret,bob:other")
    get_settings.cache_clear()


def test_without_logins_a_call_is_the_local_users(api: TestClient) -> None:
    assert ok(api.get("me")) == {"user": "local"}


def test_a_token_makes_its_users_calls(api: TestClient, as_user: AsUser) -> None:
    assert ok(api.get("me", headers=as_user("ada"))) == {"user": "ada"}
    spaced = {"Authorization": as_user("bob")["Authorization"].replace("Bearer ", "bearer   ") + " "}
    assert ok(api.get("me", headers=spaced)) == {"user": "bob"}
    with read_session() as session:
        assert all(token.last_used_at is not None for token, _ in tokens.listed(session=session))


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer hypo_" + "A" * 43, "Basic YTpi", "hypo_x", "Bearer \xff"]
)
def test_a_token_that_is_given_must_be_valid_even_without_logins(api: TestClient, header: str) -> None:
    answer = api.get("me", headers={"Authorization": header.encode("latin-1")})  # type: ignore[dict-item]
    refused(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_an_expired_and_a_revoked_token_are_refused(api: TestClient, as_user: AsUser) -> None:
    headers = as_user("ada")
    with write_session() as session:
        session.execute(update(ApiToken).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert "expired" in refused(api.get("me", headers=headers), 401)
    headers = as_user("ada")
    with write_session() as session:
        tokens.revoke(tokens.listed(session=session)[0][0].id, session=session)
    assert "revoked" in refused(api.get("me", headers=headers), 401)


@pytest.mark.usefixtures("logins")
def test_with_logins_every_address_wants_a_token(api: TestClient, as_user: AsUser) -> None:
    schema = rest_api().openapi()
    paths = [(method, path) for path, methods in schema["paths"].items() for method in methods]
    assert len(paths) > 35
    paths += [("get", path) for path in ("/openapi.json", "/docs", "/docs.css")]
    for method, path in paths:
        address = path.lstrip("/").replace("{letter}", "A").replace("{dataset}", "x")
        address = address.replace("{run_id}", "1").replace("{vote_id}", "1")
        address = address.replace("{comparison_id}", "1").replace("{conversation_id}", "1")
        answer = api.request(method, address)
        assert "hypo tokens create" in refused(answer, 401), path
        assert api.request(method, address, headers=as_user("ada")).status_code != 401, path


@pytest.mark.usefixtures("logins")
def test_who_lost_the_login_lost_the_tokens(api: TestClient, as_user: AsUser) -> None:
    assert ok(api.get("me", headers=as_user("bob"))) == {"user": "bob"}
    assert "eve" in refused(api.get("me", headers=as_user("eve")), 401)


def test_the_page_of_the_api_loads_nothing_from_elsewhere(api: TestClient) -> None:
    page = api.get("docs").text
    style = api.get("docs.css").text
    assert "<script" not in page
    assert "url(" not in style
    assert "@import" not in style
    assert "://" not in page.replace("http://127.0.0.1:7860", "")
    for operation in ok(api.get("openapi.json"))["paths"].values():
        for said in operation.values():
            assert f'id="{said["operationId"]}"' in page
            assert said["description"]


def test_the_schema_says_what_errors_look_like_and_how_to_log_in(api: TestClient) -> None:
    schema = ok(api.get("openapi.json"))
    assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert schema["servers"] == [{"url": "/api/v1"}]
    for operation in schema["paths"].values():
        for said in operation.values():
            assert said["security"] == [{"HTTPBearer": []}]
            problem = said["responses"]["422"]["content"]["application/json"]["schema"]
            assert problem == {"$ref": "#/components/schemas/Problem"}


def test_the_served_app_is_at_its_place(engine: object) -> None:
    assert [route.path for route in served().routes] == ["/api/v1"]  # type: ignore[attr-defined]
