"""Scorings by the worker, with the real engine on a tiny model."""

import pytest
from sqlalchemy import select

from app import answer_tokens, answers, scored_texts
from app.settings import Settings
from app.store import run_checkpoints
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind, ScoringStatus
from app.store.models import Checkpoint, Generation, Scoring
from app.store.scorings import SCORING_LEASES
from tests.worker.conftest import Launcher, answer_all
from worker.token_scoring import score_tokens_next
from worker.training import train_next

WORKER = "here:1:generate:aaaa"


def score_all() -> None:
    while score_tokens_next(worker=WORKER):
        continue


@pytest.fixture(params=[False, True], ids=["plain", "4 bit"])
def run_id(launch_tiny: Launcher, request: pytest.FixtureRequest) -> int:
    (run_id,) = launch_tiny("dpo", load_in_4bit=request.param)
    while train_next(worker="here:1:train"):
        continue
    return run_id


def test_answers_samples_and_pasted_texts_are_scored(run_id: int, home: Settings) -> None:
    contenders = answers.contenders_of_runs([run_id], with_reference=True)
    given = Decoding(max_new_tokens=8, temperature=1.0)
    comparison = answers.begin(contenders, "Say something.", seed=7, decoding=given, blind=False)
    answer_all()
    rows = {row.position: row for row in answers.look(comparison.id).answers}
    for row in rows.values():
        answer_tokens.want(row.id)
        answer_tokens.want(row.id)
    score_all()
    reference, tuned = (answer_tokens.look(rows[position].id) for position in (0, 1))
    assert [tuned.scoring.step, reference.scoring.step] == [2, 0]  # type: ignore[union-attr]
    for opened in (reference, tuned):
        scoring, stored = opened.scoring, opened.generation.token_logps
        assert scoring is not None
        assert scoring.status is ScoringStatus.FINISHED
        if scoring.as_sampled:
            assert [t[1] for t in scoring.tokens or []] == pytest.approx(
                [t[1] for t in stored or []], abs=1e-3
            )
            assert scoring.reference_logp == pytest.approx(opened.generation.reference_logp, abs=1e-2)
        assert all(len(token[3]) == len(token[4]) == 5 for token in scoring.tokens or [])
    assert [other.id for other, _ in tuned.beside] == [rows[0].id]
    _check_samples(run_id)
    _check_pasted(run_id, contenders)


def _check_samples(run_id: int) -> None:
    with read_session() as session:
        probes = session.scalars(select(Generation).where(Generation.kind == GenerationKind.PROBE)).all()
    first, last = probes[0], probes[-1]
    for probe in (first, last):
        answer_tokens.want(probe.id)
    score_all()
    opened = answer_tokens.look(last.id)
    assert opened.scoring is not None
    assert (opened.scoring.step, opened.author.step, opened.author.run_id) == (2, 2, run_id)
    if opened.scoring.as_sampled:  # else the tiny model wrote bytes that are no text
        assert opened.scoring.policy_logp == pytest.approx(last.policy_logp, abs=0.05)
    before = answer_tokens.look(first.id)
    assert before.scoring is not None
    assert before.scoring.policy_logp == before.scoring.reference_logp
    assert last.id in [other.id for other, _ in before.beside]


def _check_pasted(run_id: int, contenders: list[ContenderChoice]) -> None:
    number = scored_texts.score(contenders, "Why?", "Because it is.")
    score_all()
    scores = scored_texts.look(number)
    base, tuned = scores.scorings
    assert scores.over
    assert base.policy_logp == base.reference_logp == tuned.reference_logp
    assert tuned.policy_logp != tuned.reference_logp
    with write_session() as session:
        for point in run_checkpoints.of_run(run_id, session=session):
            session.delete(session.get_one(Checkpoint, point.id))
    gone = scored_texts.look(number).text.contenders[1]["name"]
    with write_session() as session:
        session.get_one(Scoring, tuned.id).status = ScoringStatus.FAILED
    scored_texts.try_again(number)
    score_all()
    failed = scored_texts.look(number).scorings[1]
    assert f"The checkpoint of {gone} was deleted" in str(failed.error)
    with read_session() as session:
        assert SCORING_LEASES.all_held(session=session) == {}
