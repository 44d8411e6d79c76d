"""`hypo tokens`, on a real database."""

import pytest

from app import migrate
from app.cli.main import run
from app.settings import Settings, get_settings
from app.store import tokens
from app.store.db import read_session
from tests.app.cli.test_commands import call, refuse


@pytest.fixture(autouse=True)
def home(settings: Settings) -> Settings:
    migrate.upgrade()
    return settings


def test_a_token_is_made_listed_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    made = call(capsys, "tokens", "create", "--user", "ada", "--name", "notebook", "--expires", "30")
    with read_session() as session:
        known = tokens.find(made["token"], session=session)
    assert known is not None
    assert known.user == "ada"
    (listed,) = call(capsys, "tokens", "list")
    assert (listed["user"], listed["name"], listed["state"]) == ("ada", "notebook", "valid")
    assert made["token"] not in str(listed)
    assert call(capsys, "tokens", "list", "--user", "bob") == []
    assert call(capsys, "tokens", "revoke", str(made["id"])) == {"revoked": made["id"]}
    assert call(capsys, "tokens", "list")[0]["state"] == "revoked"
    with read_session() as session:
        assert tokens.find(made["token"], session=session) is None


def test_people_get_the_token_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tokens", "create", "--user", "ada"]) == 0
    output = capsys.readouterr()
    with read_session() as session:
        assert tokens.find(output.out.strip(), session=session) is not None
    assert "once" in output.err
    assert run(["tokens", "list"]) == 0
    table = capsys.readouterr().out
    assert "ada" in table
    assert "valid" in table


def test_a_user_without_a_login_gets_no_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPO_AUTH", "ada:secret,bob:other")
    get_settings.cache_clear()
    said = refuse(capsys, "tokens", "create", "--user", "eve")
    assert "ada, bob" in said
    assert "secret" not in said
    assert call(capsys, "tokens", "create", "--user", "bob")["user"] == "bob"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["revoke", "7"], "There is no token 7"),
        (["create", "--user", " "], "1 to 100 characters"),
        (["create", "--user", "ada", "--expires", "0"], "expires must be above 0"),
    ],
)
def test_what_cannot_be_done_is_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in refuse(capsys, "tokens", *arguments)
