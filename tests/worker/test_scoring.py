"""Scorers and reward models as judges, on a generate worker."""

from pathlib import Path

import pytest

from app import judges
from app.errors import InvalidInput
from app.settings import Settings
from app.store import verdicts
from app.store.db import read_session, write_session
from app.store.enums import JudgeKind, Outcome, VerdictStatus
from app.store.models import JudgeVerdict
from app.store.verdicts import VERDICT_LEASES
from tests.app import campaign_setup
from worker import scoring
from worker.judging import judge_next
from worker.scoring import score_next

WORKER = "here:1:generate:aaaa"


@pytest.fixture
def campaign(home: Settings) -> int:
    """Three prompts and three contenders; the answers have one, two and two words."""
    return campaign_setup.ready(
        prompts=["One?", "Two?", "Three?"],
        contenders=3,
        text=lambda number, position: " ".join(["word"] * min(2, position + 1)) + "." * position,
    )


def score_all() -> None:
    while score_next(worker=WORKER):
        continue


def rows() -> list[JudgeVerdict]:
    with read_session() as session:
        return list(session.query(JudgeVerdict).order_by(JudgeVerdict.id))


def test_the_higher_score_wins(campaign: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "CLAIMED_ROWS", 4)
    judge = judges.start(campaign, scorer="length:2")
    assert not judge_next(worker=WORKER), "the worker of the endpoints leaves it"
    score_all()
    outcomes = [(row.first, row.second, row.outcome, row.first_score, row.second_score) for row in rows()]
    assert (
        outcomes
        == [
            (0, 1, Outcome.SECOND, 2.0, 4.0),
            (0, 2, Outcome.SECOND, 2.0, 4.0),
            (1, 2, Outcome.TIE, 4.0, 4.0),
        ]
        * 3
    )
    report = judges.report(judge)
    assert (report.flips.of, report.cost.replies, report.queue) == (0, 0, "generate")
    assert scoring._loaded == {}
    with read_session() as session:
        assert VERDICT_LEASES.all_held(session=session) == {}


def test_a_scorer_that_fails_is_told(campaign: int, tmp_path: Path) -> None:
    judge = judges.start(campaign, scorer=str(tmp_path / "gone"))
    score_all()
    report = judges.report(judge)
    assert report.counts[VerdictStatus.FAILED] == 9
    assert "gone" in report.failures[0]
    assert judges.resume(judge) == 9


def test_what_cannot_judge_is_told(campaign: int) -> None:
    for spec, sentence in {
        "nothing": "scorer must be length",
        "regex:(a+)+$": "scorer regex cannot judge",
        "run:99": "scorer: There is no run 99",
        "run:1": "scorer: run 1 trained no reward model",
        "/" + "x" * 200: "more than 200 characters",
        "": "Give either an endpoint or a scorer",
    }.items():
        with pytest.raises(InvalidInput, match=sentence):
            judges.start(campaign, scorer=spec)


def test_a_dead_workers_verdicts_are_written_by_the_next(campaign: int) -> None:
    judge = judges.start(campaign, scorer="length")
    with write_session() as session:
        _, waiting = verdicts.claim_next(
            JudgeKind.SCORER, session=session, worker="gone", lease_seconds=60, lease="x", rows=9
        )
        assert len(waiting) == 9
    assert not score_next(worker=WORKER)
    with write_session() as session:
        held = VERDICT_LEASES.all_held(session=session)
        VERDICT_LEASES.expire(held, session=session)
        verdicts.reap(held, session=session)
    score_all()
    assert judges.report(judge).counts[VerdictStatus.JUDGED] == 9
