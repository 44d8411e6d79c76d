"""The benchmark of many voters, small: it counts what was lost or doubled, and a served app loses nothing."""

import pytest
from sqlalchemy import Engine

from app import migrate
from app.settings import Settings
from app.store import labels
from app.store.db import write_session
from app.store.enums import Choice
from benchmarks.app import voters
from benchmarks.app.voters import Outcome


def test_a_few_voters_lose_nothing(settings: Settings) -> None:
    migrate.upgrade()
    outcome = voters.run(voters=5, seconds=2, pause=0.2)
    assert (outcome.errors, outcome.lost, outcome.doubled) == ([], 0, 0)
    assert len(outcome.voted) > 5
    assert "0 lost, 0 doubled" in outcome.line()


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


def test_a_slow_tail_is_over_the_limit() -> None:
    assert Outcome(seconds=[0.1] * 96 + [9.0] * 4, took=1.0).kept
    assert not Outcome(seconds=[0.1] * 90 + [9.0] * 10, took=1.0).kept
    assert not Outcome(seconds=[0.1], took=1.0, lost=1).kept
