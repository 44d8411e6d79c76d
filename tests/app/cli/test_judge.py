"""`hypo judge`: start, list, show, stop, resume, board."""

from pathlib import Path

import pytest

from app import campaigns, migrate
from app.cli.main import run
from app.endpoints.judging import TEMPLATE
from app.settings import Settings, get_settings
from app.store.db import write_session
from tests.app import arena, campaign_setup
from tests.app.cli.test_commands import call, refuse
from tests.app.test_judges import decide
from tests.endpoint_server import write_config


@pytest.fixture
def campaign(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    entry = {"name": "GPT", "base_url": "https://x.example/v1", "model": "gpt-large"}
    monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", entry))
    get_settings.cache_clear()
    migrate.upgrade()
    return str(campaign_setup.ready(prompts=[f"{at}?" for at in range(6)]))


def test_a_judge_from_start_to_end(campaign: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template = tmp_path / "question.txt"
    assert "There is no endpoint X" in refuse(capsys, "judge", "start", campaign, "--endpoint", "X")
    start = ("judge", "start", campaign, "--endpoint", "GPT", "--template", str(template))
    assert "cannot be read" in refuse(capsys, *start)
    template.write_text(TEMPLATE + "\nBe strict.")
    made = call(capsys, *start, "--seed", "3")
    assert (made["model"], made["seed"], made["verdicts"]["queued"]) == ("gpt-large", 3, 6)
    assert made["template"].endswith("Be strict.")
    assert call(capsys, "judge", "stop", "1")["verdicts"]["stopped"] == 6
    assert call(capsys, "judge", "resume", "1")["verdicts"]["queued"] == 6
    assert "still hidden" in refuse(capsys, "judge", "board", "1")
    decide(1)
    shown = call(capsys, "judge", "show", "1")
    assert (shown["flips"]["rate"], shown["cost"], shown["with_people"]["pairs"]) == (0.0, None, 0)
    assert [found["id"] for found in call(capsys, "judge", "list", campaign)] == [1]
    campaigns.show_names(int(campaign))
    assert len(call(capsys, "judge", "board", "1")["models"]) == 2


def test_a_judge_in_words(campaign: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["judge", "start", campaign, "--endpoint", "GPT"]) == 0
    said = capsys.readouterr()
    assert "0 of 6 verdicts are over." in said.out
    assert "No endpoints worker is running" in said.err
    decide(1)
    campaigns.show_names(int(campaign))
    for command in (["show", "1"], ["list", campaign], ["board", "1"], ["template"]):
        assert run(["judge", *command]) == 0
    said = capsys.readouterr()
    assert "The two orders disagree: 0% of 6 (0 to 39%)." in said.out
    assert "Replies: 6, cost: unknown." in said.out
    assert "{answer_b}" in said.out


def test_a_judge_of_a_run(campaign: str, capsys: pytest.CaptureFixture[str]) -> None:
    with write_session() as session:
        run_id = str(arena.add_run(session).id)
    made = call(capsys, "judge", "start", "--run", run_id, "--scorer", "vader")
    assert (made["run_id"], made["campaign_id"]) == (int(run_id), None)
    assert [one["name"] for one in call(capsys, "judge", "list", "--run", run_id)] == ["vader"]
    assert "Give either the number of a campaign or --run" in refuse(capsys, "judge", "list")
    assert "Give either" in refuse(capsys, "judge", "start", campaign, "--run", run_id, "--scorer", "vader")
    assert "stop it instead" in refuse(
        capsys, "judge", "delete", str(call(capsys, "judge", "start", campaign, "--scorer", "length")["id"])
    )
    assert call(capsys, "judge", "delete", str(made["id"])) == {"deleted": made["id"]}
    assert call(capsys, "judge", "list", "--run", run_id) == []
