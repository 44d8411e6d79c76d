"""Automatic judges: who may start them, what is refused, and who may see their boards."""

from pathlib import Path
from typing import Any

import pytest

from app import campaigns, judges
from app.errors import InvalidInput, NotFound, Refused
from app.settings import get_settings
from app.store import verdicts
from app.store.db import read_session, write_session
from app.store.enums import JudgeKind, Outcome, VerdictStatus
from app.store.verdicts import VERDICT_WAKE_UPS
from tests.app import campaign_setup
from tests.endpoint_server import write_config

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture(autouse=True)
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Any) -> None:
    entry = {"name": "GPT", "base_url": "https://x.example/v1", "model": "gpt-large"}
    monkeypatch.setenv("HYPO_ENDPOINTS", write_config(tmp_path / "endpoints.yaml", entry))
    get_settings.cache_clear()


def ready(**given: Any) -> int:
    return campaign_setup.ready(prompts=[f"{at}?" for at in range(6)], **given)


def decide(judge_id: int, outcome: Outcome = Outcome.FIRST) -> None:
    """Write all verdicts of a judge."""
    with write_session() as session:
        _, waiting = verdicts.claim_next(
            JudgeKind.ENDPOINT, session=session, worker="w", lease_seconds=60, lease="x", rows=500
        )
        for one in waiting:
            assert one.verdict.judge_id == judge_id
            key = f"{one.verdict.id}"
            reply = verdicts.store_reply(key, session=session, judge_id=judge_id, sent={}, text="Verdict: A")
            assert verdicts.store_reply(key, session=session, sent={}, text="Other").id == reply.id
            verdicts.write(
                one.verdict.id,
                session=session,
                status=VerdictStatus.JUDGED,
                outcome=outcome,
                flipped=False,
                replies=(reply.id, None),
            )


def test_every_pair_of_different_answers_is_judged() -> None:
    campaign_id = ready(contenders=3, text=lambda number, position: "same" if position < 2 else f"{number}")
    judge_id = judges.start(campaign_id, "GPT")
    assert judges.report(judge_id).waiting == 12
    with write_session() as session:
        assert (
            len(VERDICT_WAKE_UPS[JudgeKind.ENDPOINT].take_undelivered(session=session, resend_seconds=60))
            == 1
        )
    decide(judge_id)
    report = judges.report(judge_id)
    assert report.counts[VerdictStatus.JUDGED] == report.verdicts == 12
    assert report.cost == (12, None), "without counts of tokens the cost is unknown"
    assert judges.resume(judge_id) == 0


def test_the_board_is_for_those_who_have_seen_the_names() -> None:
    campaign_id = ready(contenders=2)
    judge_id = judges.start(campaign_id, "GPT")
    decide(judge_id)
    for read in (judges.board, lambda judge: judges.whole_verdicts(judge, limit=5)):
        with pytest.raises(Refused, match="still hidden from you; show them first"):
            read(judge_id)
    campaigns.show_names(campaign_id)
    ranking = judges.board(judge_id)
    assert [ranking.names[at] for at in ranking.order] == ["Reference", "dpo run"]
    assert (ranking.games, ranking.prompts, ranking.board.reference) == (6, 6, 0)
    assert judges.board(judge_id).board is ranking.board
    found, names = judges.whole_verdicts(judge_id, limit=5)
    assert (len(found), found[0].question, found[0].forward, names[0]) == (5, "0?", "Verdict: A", "Reference")


def test_only_the_owner_starts_stops_and_continues() -> None:
    campaign_id = ready(user="ada")
    with pytest.raises(Refused, match="is ada's"):
        judges.start(campaign_id, "GPT", user="bob")
    judge_id = judges.start(campaign_id, "GPT", user="ada")
    for act in (judges.stop, judges.resume):
        with pytest.raises(Refused, match="is ada's"):
            act(judge_id, user="bob")
    judges.stop(judge_id, user="ada")
    assert judges.report(judge_id).counts[VerdictStatus.STOPPED] == 6
    assert judges.resume(judge_id, user="ada") == 6


def test_what_is_out_of_bounds_is_told() -> None:
    campaign_id = ready()
    wrong: dict[str, tuple[Any, str]] = {
        "endpoint": ("X", "There is no endpoint X; there are GPT"),
        "template": ("{question}", "template lacks {answer_a} and {answer_b}"),
        "seed": (-1, "seed must be"),
        "max_tokens": (0, "between 1 and 4096"),
    }
    for field, (value, sentence) in wrong.items():
        with pytest.raises(InvalidInput, match=sentence) as caught:
            judges.start(campaign_id, **{"endpoint": "GPT", field: value})
        assert caught.value.field == field
    assert judges.reports(campaign_id) == []


def test_what_cannot_be_judged_is_told() -> None:
    with pytest.raises(Refused, match="No two different answers are written yet"):
        judges.start(campaign_setup.create(), "GPT")
    campaign_id = ready()
    judge_id = judges.start(campaign_id, "GPT")
    with pytest.raises(Refused, match=f"Judge {judge_id} of this campaign is asked in the same way"):
        judges.start(campaign_id, "GPT")
    for act in (judges.report, judges.stop, judges.resume, judges.board):
        with pytest.raises(NotFound, match="There is no judge 99"):
            act(99)
    with pytest.raises(NotFound, match="There is no campaign 99"):
        judges.reports(99)


def test_later_answers_are_judged_on_demand() -> None:
    campaign_id = campaign_setup.create(prompts=["One?", "Two?"])
    campaign_setup.write_answers(campaign_id, failed=[(1, 0)])
    judge_id = judges.start(campaign_id, "GPT")
    assert judges.report(judge_id).verdicts == 1
    campaign_setup.write_answers(campaign_id)
    assert judges.resume(judge_id) == 1
    assert judges.report(judge_id).verdicts == 2


def test_a_verdict_fails_after_too_many_deaths() -> None:
    judge_id = judges.start(ready(), "GPT")
    for attempt in range(3):
        with write_session() as session:
            verdicts.claim_next(
                JudgeKind.ENDPOINT,
                session=session,
                worker="gone",
                lease_seconds=60,
                lease=f"{attempt}",
                rows=1,
            )
            held = verdicts.VERDICT_LEASES.all_held(session=session)
            verdicts.VERDICT_LEASES.expire(held, session=session)
            verdicts.reap(held, session=session)
    report = judges.report(judge_id)
    assert report.counts[VerdictStatus.FAILED] == 1
    assert "died repeatedly" in report.failures[0]
    with read_session() as session:
        assert VERDICT_WAKE_UPS[JudgeKind.ENDPOINT].is_undelivered(session=session, resend_seconds=0)
