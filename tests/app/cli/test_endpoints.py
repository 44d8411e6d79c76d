"""`hypo endpoints`, and campaigns with endpoints."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import migrate
from app.cli.main import run
from app.settings import Settings, get_settings
from tests.app.cli.test_commands import call, refuse
from tests.endpoint_server import EndpointServer, Reaction, serving, write_config


@pytest.fixture
def server(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EndpointServer]:
    with serving() as found:
        entries = [found.entry(), found.entry(name="Other", api_key_env="OTHER_KEY")]
        monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", *entries))
        get_settings.cache_clear()
        yield found


def test_endpoints_are_listed_and_checked(
    server: EndpointServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = call(capsys, "endpoints")
    assert [(one["name"], one["state"]) for one in listed] == [
        ("GPT", "no key needed"),
        ("Other", "OTHER_KEY is not set"),
    ]
    assert server.requests == []
    monkeypatch.setenv("OTHER_KEY", "sk-1")
    assert [one["state"] for one in call(capsys, "endpoints", "--check")] == ["replies", "replies"]
    server.say(Reaction(status=401))
    assert run(["endpoints", "--check"]) == 1
    shown = capsys.readouterr()
    assert "refused the key" in shown.out
    assert shown.err.strip().endswith("No reply from GPT, Other.")


def test_a_campaign_of_endpoints(
    server: EndpointServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate.upgrade()
    (tmp_path / "prompts.txt").write_text("One?\nTwo?\n")
    asked = ("campaigns", "new", "--prompts", str(tmp_path / "prompts.txt"), "--endpoint", "GPT")
    made = call(capsys, *asked, "--endpoint", "Other")
    assert [(who["name"], who["method"], who["base_model"]) for who in made["contenders"]] == [
        ("GPT", "endpoint", "gpt-large"),
        ("Other", "endpoint", "gpt-large"),
    ]
    assert made["progress"]["requests"] == 4
    assert "There is no endpoint None; there are GPT, Other" in refuse(capsys, *asked, "--endpoint", "None")
    assert "chosen twice" in refuse(capsys, *asked, "--endpoint", "GPT")
