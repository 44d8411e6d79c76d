"""The reply to a COMMIT is lost with its connection: the retry does not repeat the write."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.launch import launch
from app.store import comparisons, conversations, metrics, run_events, runs
from app.store.answering import ANSWER_LEASES
from app.store.claims import Claim
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind, RunStatus
from app.store.models import Comparison, Generation, Run, RunEvent
from app.store.run_transitions import RUN_LEASES
from hypo_engine.reporting import Sample
from tests.relay import Relay
from tests.tiny_dataset import add_tiny_dataset
from tests.worker.conftest import TINY_RUN
from worker.reporter import StoreReporter
from worker.retry import retry_write
from worker.training import train_next

Launch = Callable[..., int]


@pytest.fixture
def launch_one(relay: Relay, tiny_model: Path, tmp_path: Path) -> Launch:
    """A function that launches a run on the database behind the relay and returns its id."""
    dataset_id = add_tiny_dataset(tmp_path)

    def launch_run(method: str = "dpo", **values: object) -> int:
        [run] = launch(method, dataset_id, {"model_name_or_path": str(tiny_model), **TINY_RUN, **values})
        return run.id

    return launch_run


def sample(text: str) -> Sample:
    return Sample(
        kind="online",
        step=1,
        prompt="Say 1.",
        text=text,
        seed=1,
        tokens=1,
        finished=True,
        policy_logp=-1.0,
        reference_logp=-1.0,
    )


def claimed(run_id: int) -> StoreReporter:
    with write_session() as session:
        assert RUN_LEASES.claim(run_id, session=session, worker="w", lease_seconds=60, lease="lease")
    return StoreReporter(Claim(run_id, "lease", 1), threading.Event())


def texts() -> list[str]:
    with read_session() as session:
        return list(session.scalars(select(Generation.text).order_by(Generation.id)))


def test_a_claim_whose_answer_is_lost_is_the_claim(relay: Relay, launch_one: Launch) -> None:
    first, second = launch_one(), launch_one()
    relay.lose_the_reply_to(b"COMMIT")
    run = retry_write(lambda s: RUN_LEASES.claim_next(session=s, worker="w", lease_seconds=60, lease="lease"))
    assert relay.has_lost
    assert run is not None
    assert (run.id, run.attempt, run.lease_id) == (first, 1, "lease")
    with read_session() as session:
        assert runs.get(second, session=session).status is RunStatus.QUEUED
        taken = session.scalar(select(func.count()).where(RunEvent.message.startswith("Started by")))
    assert taken == 1


def test_a_claimed_comparison_whose_answer_is_lost_is_the_claim(relay: Relay) -> None:
    with write_session() as session:
        conversation = conversations.start(
            [ContenderChoice(base_model="demo")],
            session=session,
            user="local",
            blind=False,
            seed=1,
            decoding=Decoding(max_new_tokens=5),
        )
        comparison_id = comparisons.ask(conversation.id, "Why?", session=session).id
    relay.lose_the_reply_to(b"COMMIT")
    found = retry_write(
        lambda s: ANSWER_LEASES.claim_next(session=s, worker="w", lease_seconds=60, lease="lease")
    )
    assert relay.has_lost
    assert found is not None
    assert (found.id, found.attempt) == (comparison_id, 1)
    with read_session() as session:
        assert session.scalar(select(func.count(Comparison.id))) == 1


def test_samples_metrics_and_log_lines_are_stored_once(relay: Relay, launch_one: Launch) -> None:
    run_id = launch_one()
    reporter = claimed(run_id)
    writes: list[Callable[[], None]] = [
        lambda: reporter.samples([sample("a"), sample("b")]),
        lambda: reporter.samples([sample("c")]),
        lambda: reporter.metrics(1, {"loss": 0.5}),
        lambda: reporter.log("info", "Once."),
    ]
    for write in writes:
        relay.lose_the_reply_to(b"COMMIT")
        write()
        assert relay.has_lost
    assert texts() == ["a", "b", "c"]
    with read_session() as session:
        assert metrics.series([run_id], ["loss"], session=session) == {(run_id, "loss"): [(1, 0.5)]}
        assert [event.message for event in run_events.of_run(run_id, session=session)].count("Once.") == 1


def test_a_write_that_was_not_done_is_done(relay: Relay, launch_one: Launch) -> None:
    """The connection breaks before the commit: the retry must not treat the write as done."""
    reporter = claimed(launch_one())
    relay.lose_the_reply_to(b"INSERT INTO generations")
    reporter.samples([sample("a")])
    assert relay.has_lost
    assert texts() == ["a"]


def test_who_lost_the_run_writes_nothing(relay: Relay, launch_one: Launch) -> None:
    run_id = launch_one()
    reporter = claimed(run_id)
    with write_session() as session:
        runs.get(run_id, session=session).lease_id = "another's"
    reporter.samples([sample("a")])
    reporter.log("info", "Never.")
    assert texts() == []
    with read_session() as session:
        assert "Never." not in [event.message for event in run_events.of_run(run_id, session=session)]


def test_a_run_whose_answers_are_lost_all_along_ends_well(
    relay: Relay, launch_one: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = launch_one("hypo", max_steps=4)
    heard = StoreReporter.metrics

    def lose_one(self: StoreReporter, step: int, values: dict[str, float]) -> None:
        relay.lose_the_reply_to(b"COMMIT")
        heard(self, step, values)

    monkeypatch.setattr(StoreReporter, "metrics", lose_one)
    assert train_next(worker="here:1:train:aaaa")
    with read_session() as session:
        run = session.get_one(Run, run_id)
        assert (run.status, run.attempt, run.error) == (RunStatus.FINISHED, 1, None)
        online = select(Generation.step, func.count()).where(
            Generation.run_id == run_id, Generation.kind == GenerationKind.ONLINE
        )
        found = session.execute(online.group_by(Generation.step).order_by(Generation.step)).all()
        assert [tuple(row) for row in found] == [(step, 4) for step in (1, 2, 3, 4)]
        said = [event.message for event in run_events.of_run(run_id, session=session)]
    assert said.count("Finished.") == 1
