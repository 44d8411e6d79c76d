"""The app's benchmark at small scale: every case of `make bench-app` runs, and no vote is lost."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.settings import Settings
from app.store import labels
from app.store.db import write_session
from app.store.enums import Choice
from benchmarks.app import judges, voters
from benchmarks.app.__main__ import main
from benchmarks.app.calls import operations
from benchmarks.app.cases import cases
from benchmarks.app.databases import WIDTH
from benchmarks.app.fill import Filler, Size
from benchmarks.app.voters import Outcome

SHARE = 0.001


def test_the_whole_command_runs_every_case_and_loses_no_vote(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("HYPO_DATABASE_URL", "HYPO_AUTH"):
        monkeypatch.setenv(name, "")  # set by the command; restored after the test
    given = ["--only", "calls", "votes", "--databases", "sqlite", "--share", str(SHARE)]
    main([*given, "--rounds", "1", "--voting", "2"])
    said = capsys.readouterr().out
    measured = {line[:WIDTH].strip() for line in said.splitlines()}
    asked = {case.name for case in cases(Filler(Size().part(SHARE)).filled(), tmp_path)}
    assert asked - measured == set()
    of_api = {operation.title for operation in operations()}
    assert of_api - measured == set()
    assert {"GET /votes/export", "PUT /comparisons/{comparison_id}/vote"} <= of_api
    assert " 0 votes" not in said
    assert "0 errors, 0 lost, 0 doubled" in said


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_vote_that_is_gone_another_or_too_many_is_counted(engine: Engine) -> None:
    ids, _ = voters.prepare(3, count=3)
    with write_session() as session:
        for number, comparison in enumerate(ids):
            labels.vote(comparison, session=session, user=f"person-{number}", choice=Choice.TIE)
    outcome = Outcome(
        voted={(ids[0], "person-0"): "tie", (ids[1], "person-1"): "A", (ids[0], "person-2"): "B"}
    )
    voters._compare(outcome, ids)
    assert (outcome.lost, outcome.doubled) == (2, 1)


def test_a_campaign_is_judged_to_its_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HYPO_HOME", "HYPO_DATABASE_URL", "HYPO_AUTH"):
        monkeypatch.setenv(name, "")  # set by the command; restored after the test
    assert judges.main(["--people", "3", "--prompts", "5"]) == 0
    said = capsys.readouterr().out
    assert "15 of 15 votes by 3 people at once" in said
    assert "0 errors, 0 lost, 0 doubled" in said


def test_a_slow_tail_is_over_the_limit() -> None:
    assert Outcome(seconds=[0.1] * 96 + [9.0] * 4, took=1.0).kept
    assert not Outcome(seconds=[0.1] * 90 + [9.0] * 10, took=1.0).kept
    assert not Outcome(seconds=[0.1], took=1.0, lost=1).kept
