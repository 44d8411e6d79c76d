"""A worker that ignores a cancel is ended by its watchdog; the cancelled work is not retried."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.launch import send_comparison
from app.settings import get_settings
from app.store import comparisons, conversations, generations, run_transitions
from app.store.answering import ANSWER_LEASES
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session, write_session
from app.store.enums import GenerationStatus, RunStatus
from tests.integration.cluster import Cluster, log_of, run_of, wait_for

pytestmark = pytest.mark.servers

LaunchTiny = Callable[..., list[int]]


@pytest.fixture(autouse=True)
def soon(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enforce cancels after three seconds; a stuck worker's lease outlasts that."""
    monkeypatch.setenv("HYPO_CANCEL_SECONDS", "3")
    monkeypatch.setenv("HYPO_LEASE_SECONDS", "60")
    get_settings.cache_clear()


def test_a_run_stuck_in_c_code_is_cancelled(cluster: Cluster, launch_tiny: LaunchTiny) -> None:
    worker = cluster.start_worker("train", module="tests.integration.stuck")
    [run_id] = launch_tiny("dpo")
    wait_for(lambda: run_of(run_id).status is RunStatus.RUNNING, "the run")
    with write_session() as session:
        run_transitions.request_cancel(run_id, session=session)
    wait_for(lambda: run_of(run_id).status.is_over, "the cancel", seconds=40)
    wait_for(lambda: not worker.alive, "the end of the process", seconds=10)
    run = run_of(run_id)
    assert (run.status, run.attempt, run.lease_id, run.error) == (RunStatus.CANCELLED, 1, None, None)
    assert "was killed" in log_of(run_id)[-1]


def test_answers_stuck_before_their_first_token_are_stopped(cluster: Cluster, tiny_model: Path) -> None:
    worker = cluster.start_worker("generate", module="tests.integration.stuck")
    with write_session() as session:
        conversation = conversations.start(
            [ContenderChoice(base_model=str(tiny_model))],
            session=session,
            user="local",
            blind=False,
            seed=1,
            decoding=Decoding(max_new_tokens=5),
        )
        comparison = comparisons.ask(conversation.id, "Why?", session=session)
    send_comparison(comparison.id)

    def held() -> bool:
        with read_session() as session:
            return bool(ANSWER_LEASES.all_held(session=session))

    wait_for(held, "a worker that takes the question")
    with read_session() as session:
        [answer] = comparisons.answers(comparison.id, session=session)
    with write_session() as session:
        generations.wish_stop([answer.id], session=session)
    wait_for(lambda: not worker.alive, "the end of the process", seconds=40)
    wait_for(lambda: not held(), "the comparison's release", seconds=20)
    with read_session() as session:
        [answer] = comparisons.answers(comparison.id, session=session)
    assert answer.status is GenerationStatus.STOPPED
