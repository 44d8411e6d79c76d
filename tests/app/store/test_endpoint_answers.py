"""Requests to endpoints as rows: claimed apart from comparisons, taken back, sent again."""

import pytest

from app.store import answering, endpoint_answers, generations
from app.store.conversations import ContenderChoice
from app.store.db import read_session, write_session
from app.store.endpoint_answers import ENDPOINT_LEASES, ENDPOINT_WAKE_UPS
from app.store.enums import GenerationStatus, TaskStatus
from app.store.models import EndpointAnswer
from tests.app import campaign_setup

pytestmark = pytest.mark.usefixtures("engine")


def claim(lease: str, rows: int) -> list[EndpointAnswer]:
    with write_session() as session:
        found = endpoint_answers.claim_next(
            session=session, worker="w", lease_seconds=60, lease=lease, rows=rows
        )
        return list(found)


def test_requests_are_claimed_by_endpoint_and_settled_by_the_last_answer() -> None:
    both = [ContenderChoice(base_model="m", endpoint=name) for name in ("GPT", "Other")]
    campaign_id = campaign_setup.create(choices=both)
    with write_session() as session:
        assert not answering.claim_next(session=session, worker="w", lease_seconds=60, lease="x", rows=8)
        assert endpoint_answers.count_unwritten(campaign_id, session=session) == 4
        first = ENDPOINT_WAKE_UPS.take_undelivered(session=session, resend_seconds=60)
        assert len(first) == 1
        assert not ENDPOINT_WAKE_UPS.is_undelivered(session=session, resend_seconds=60)
    claimed = [claim(lease, 8) for lease in ("a", "b", "c")]
    assert [len(rows) for rows in claimed] == [2, 2, 0]
    assert {row.endpoint for row in claimed[0]} != {row.endpoint for row in claimed[1]}
    for row in [*claimed[0], *claimed[1]]:
        with write_session() as session:
            generations.start_answers([row.generation_id], session=session)
            generations.finish_answer(
                row.generation_id,
                session=session,
                status=GenerationStatus.FINISHED,
                text=f"{row.id}",
                tokens=1,
                seconds=1.0,
                complete=True,
            )
            session.get_one(EndpointAnswer, row.id).cost = 0.25
            endpoint_answers.settle(row.generation_id, session=session)
    assert {task.status for task in campaign_setup.tasks(campaign_id)} == {TaskStatus.READY}
    with read_session() as session:
        assert endpoint_answers.total_cost(campaign_id, session=session) == 1.0
        assert endpoint_answers.total_cost(campaign_id + 1, session=session) is None


def test_a_request_fails_after_too_many_deaths() -> None:
    choices = [ContenderChoice(base_model="demo"), ContenderChoice(base_model="m", endpoint="GPT")]
    campaign_id = campaign_setup.create(choices=choices, prompts=["One?"])
    for attempt in range(answering.MAX_ANSWER_ATTEMPTS):
        [row] = claim(f"{attempt}", 8)
        with write_session() as session:
            held = ENDPOINT_LEASES.all_held(session=session)
            ENDPOINT_LEASES.expire(held, session=session)
            endpoint_answers.reap(held, session=session)
    assert claim("last", 8) == []
    with read_session() as session:
        rows = generations.unfinished_answers([row.generation.comparison_id or 0], session=session)
        assert len(rows) == 1, "the answer of the generate worker still waits"
        assert endpoint_answers.count_unwritten(campaign_id, session=session) == 0
