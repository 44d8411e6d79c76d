"""Scorings: asked for once, claimed by one worker, deleted with their answers."""

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.store import prompts, scorings
from app.store.claims import Claim
from app.store.enums import ScoringStatus
from app.store.models import Generation, Scoring
from app.store.scorings import SCORING_LEASES
from tests.app import arena

TOKENS = [["so", -1.0, -2.0, [["so", -1.0]], [["no", -0.5]]]]


def claim(session: Session, lease: str = "lease") -> list[Claim]:
    found = scorings.claim_next(session=session, worker="w", lease_seconds=60, lease=lease)
    return [Claim.of(row) for row in found]


def finish(held: Claim, session: Session) -> bool:
    given = {"policy_logp": -1.0, "reference_logp": -2.0, "step": 10, "as_sampled": True}
    return scorings.finish(held, session=session, tokens=TOKENS, **given)


def test_two_people_cause_one_scoring_and_it_is_kept(session: Session) -> None:
    (answer, _) = arena.answer(session, arena.asked(session), ["one", "two"])
    first = scorings.want_answer(answer.id, session=session)
    assert scorings.want_answer(answer.id, session=session).id == first.id
    (held,) = claim(session)
    assert [
        Claim.of(row)
        for row in scorings.claim_next(session=session, worker="w", lease_seconds=9, lease="lease")
    ] == [held]
    assert claim(session, "other") == []
    assert finish(held, session)
    SCORING_LEASES.release(held, session=session)
    session.expire_all()
    again = scorings.want_answer(answer.id, session=session)
    assert (again.status, again.tokens, again.lease_id) == (ScoringStatus.FINISHED, TOKENS, None)
    assert claim(session, "third") == []
    session.execute(delete(Generation).where(Generation.id == answer.id))
    assert session.scalar(select(func.count()).select_from(Scoring)) == 0


def test_a_dead_workers_scoring_is_done_again_and_fails_at_last(session: Session) -> None:
    (answer, _) = arena.answer(session, arena.asked(session), ["one", "two"])
    wanted = scorings.want_answer(answer.id, session=session)
    for number in range(3):
        (held,) = claim(session, f"lease {number}")
        SCORING_LEASES.expire({held.lease}, session=session)
        scorings.reap({held.lease}, session=session)
        assert not finish(held, session), "the worker that was presumed dead changes nothing"
    session.expire_all()
    assert (wanted.status, "more memory" in str(wanted.error)) == (ScoringStatus.FAILED, True)
    assert claim(session, "late") == []
    again = scorings.want_answer(answer.id, session=session)
    assert (again.status, again.attempt, again.error) == (ScoringStatus.QUEUED, 0, None)


def test_the_scorings_of_a_text_are_claimed_together(session: Session) -> None:
    prompt = prompts.keep("Why?", session=session)
    rows = [{"name": name} for name in ("one", "two")]
    text = scorings.want_text(prompt, "so", rows, session=session, user="ada")
    other = scorings.want_text(prompt, "no", rows[:1], session=session, user="ada")
    held = claim(session)
    assert len(held) == 2
    assert scorings.fail(held[0], session=session, error="It is gone.")
    assert finish(held[1], session)
    session.expire_all()
    scorings.try_text_again(text.id, session=session)
    states = [row.status for row in scorings.of_text(text.id, session=session)]
    assert states == [ScoringStatus.QUEUED, ScoringStatus.FINISHED]
    assert scorings.own_text(text.id, "ada", session=session) is text
    with pytest.raises(NotFound):
        scorings.own_text(text.id, "bob", session=session)
    newest = scorings.recent_texts("ada", session=session, limit=5)
    assert [row.id for row in newest] == [other.id, text.id]
    assert scorings.recent_texts("bob", session=session, limit=5) == []
