"""Scoring a dataset's pairs on a generate worker, with a tiny model."""

import pytest

from app import deletion, pair_scoring
from app.errors import InvalidInput, Refused
from app.store import pair_scorings, runs, scored_pairs
from app.store.db import read_session, write_session
from app.store.enums import PairScoringStatus
from app.store.models import PairScoring
from app.store.pair_scorings import PAIR_LEASES
from app.store.scored_pairs import Filter
from tests.worker.conftest import Launcher
from worker import pair_scoring as work
from worker.pair_scoring import score_pairs_next
from worker.training import train_next

WORKER = "here:1:generate:aaaa"


def score_all() -> int:
    """Act as the generate worker until no scoring waits; return the number of claims."""
    claims = 0
    while score_pairs_next(worker=WORKER):
        claims += 1
    return claims


def scoring(number: int) -> PairScoring:
    with read_session() as session:
        return pair_scorings.get(number, session=session)


def test_a_dataset_is_scored_a_few_pairs_at_a_time_and_a_dead_worker_is_replaced(
    launch_tiny: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "CLAIMED_PAIRS", 10)
    chats: list[str] = []
    monkeypatch.setattr(work, "answer_chats", chats.append)
    (run,) = launch_tiny("dpo", eval_pairs=100)
    with pytest.raises(Refused, match="is queued; wait"):
        pair_scoring.start(launch_tiny.dataset_id, run)
    assert train_next(worker=WORKER)
    with pytest.raises(InvalidInput, match="no checkpoint of step 1; choose of 2"):
        pair_scoring.start(launch_tiny.dataset_id, run, step=1)
    number = pair_scoring.start(launch_tiny.dataset_id, run)
    assert score_pairs_next(worker=WORKER)
    assert pair_scoring.seconds_left(scoring(number))
    with write_session() as session:  # a worker claims the next pairs and dies
        taken = pair_scorings.claim_next(session=session, worker="gone", lease_seconds=60, lease="x", pairs=9)
        assert taken is not None
    assert not score_pairs_next(worker=WORKER)
    with write_session() as session:
        held = PAIR_LEASES.all_held(session=session)
        PAIR_LEASES.expire(held, session=session)
        pair_scorings.reap(held, session=session)
    assert score_all() == 2
    done = scoring(number)
    assert (done.status, done.done, done.unscored, done.attempt) == (PairScoringStatus.FINISHED, 24, 0, 1)
    assert chats
    assert work._loaded == {}
    assert pair_scoring.start(launch_tiny.dataset_id, run) == number, "it is not scored twice"
    with read_session() as session:
        found = scored_pairs.page(done.dataset_id, Filter((number,)), session=session, limit=100)
        means = runs.final_metrics(run, session=session)
    held_out = [one.scores[0] for one in found if one.pair.split == "held_out"]
    margins = [score.margin for score in held_out if score is not None and score.margin is not None]
    assert len(found) == 24
    assert sum(margins) / len(margins) == pytest.approx(means["eval_rewards/margins"], abs=1e-4)

    deletion.delete_run(run)
    assert (scoring(number).run_id, scoring(number).run_name) == (None, done.run_name)


def test_a_cancelled_scoring_keeps_its_scores_and_continues(
    launch_tiny: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "CLAIMED_PAIRS", 10)
    (run,) = launch_tiny("dpo")
    while train_next(worker=WORKER):
        continue
    number = pair_scoring.start(launch_tiny.dataset_id, run)
    assert score_pairs_next(worker=WORKER)

    def cancel(_worker: str) -> None:
        pair_scoring.cancel(number)

    monkeypatch.setattr(work, "answer_chats", cancel)
    monkeypatch.setattr(work, "PAUSE_SECONDS", 0.0)
    assert score_pairs_next(worker=WORKER)
    assert (scoring(number).status, scoring(number).done) == (PairScoringStatus.CANCELLED, 10)
    assert not score_pairs_next(worker=WORKER)
    monkeypatch.setattr(work, "answer_chats", lambda _worker: None)
    assert pair_scoring.start(launch_tiny.dataset_id, run) == number
    with write_session() as session:
        session.get_one(PairScoring, number).checkpoint_id = None
    score_all()
    assert scoring(number).status is PairScoringStatus.FAILED
    assert "was deleted" in (scoring(number).error or "")
