"""Runs: creation, search, every transition, and races for the same run."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.errors import NotFound, Refused
from app.store import (
    comparisons,
    generations,
    metrics,
    removal,
    run_checkpoints,
    run_events,
    run_transitions,
    runs,
)
from app.store.claims import Claim
from app.store.conversations import ContenderChoice
from app.store.db import read_session, write_session
from app.store.enums import EventLevel, GenerationKind, GenerationStatus, RunStatus, RunWish
from app.store.models import Run, utcnow
from app.store.run_transitions import RUN_LEASES
from hypo_engine.config import TrainConfig
from tests.app import arena
from tests.app.store.concurrently import concurrently


def queued(session: Session, **given: object) -> Run:
    return arena.add_run(session, status=RunStatus.QUEUED, steps=(), **given)  # type: ignore[arg-type]


def claimed(session: Session, *, lease_seconds: float = 60.0) -> tuple[Run, Claim]:
    run = RUN_LEASES.claim(
        queued(session).id, session=session, worker="host:1:train", lease_seconds=lease_seconds
    )
    assert run is not None
    return run, Claim.of(run)


def messages(run: Run, session: Session) -> list[str]:
    return [event.message for event in run_events.of_run(run.id, session=session)]


def test_a_new_run_is_queued_with_what_its_configuration_says(session: Session) -> None:
    dataset = arena.add_dataset(session)
    config = TrainConfig.model_validate({"method": "dpo", "model_name_or_path": "some/model", "seed": 7})
    run = runs.create(
        session=session, name="mine", config=config.model_dump(mode="json"), dataset_id=dataset.id
    )
    assert (run.status, run.wish, run.method) == (RunStatus.QUEUED, RunWish.NONE, "dpo")
    assert (run.base_model, run.seed, run.attempt, run.dataset.name) == ("some/model", 7, 0, "posts")
    assert TrainConfig.model_validate(run.config) == config
    assert messages(run, session) == ["Queued."]


def test_a_run_needs_a_dataset_that_is_there(session: Session) -> None:
    gone = arena.add_dataset(session)
    gone.deleted_at = utcnow()
    session.flush()
    config = TrainConfig().model_dump(mode="json")
    for dataset_id in (gone.id, 4711):
        with pytest.raises(NotFound, match="hypo datasets list"):
            runs.create(session=session, name="x", config=config, dataset_id=dataset_id)
    with pytest.raises(NotFound, match="hypo runs list"):
        runs.get(4711, session=session)


def test_filters_find_newest_first(session: Session) -> None:
    posts = arena.add_dataset(session, "only these")
    first = arena.add_run(session, "dpo", name="First 100%_sure", dataset_id=posts.id)
    second = arena.add_run(session, "hypo", name="second", status=RunStatus.FAILED)
    third = arena.add_run(session, "dpo", name="third FIRST")

    def found(**given: object) -> list[int]:
        return [run.id for run in runs.find(session=session, **given)]  # type: ignore[arg-type]

    assert found() == [third.id, second.id, first.id]
    assert found(method="dpo") == [third.id, first.id]
    assert found(status=RunStatus.FAILED) == [second.id]
    assert found(dataset_name="only these") == [first.id]
    assert found(name="first") == [third.id, first.id]
    assert found(name="100%_") == [first.id]
    assert found(name="%") == [first.id]
    assert found(limit=1, offset=1) == [second.id]
    assert found(method="dpo", name="second") == []
    assert runs.count_by_status(session=session)[RunStatus.FINISHED] == 2


def test_twins_know_each_other(session: Session) -> None:
    alone = queued(session)
    assert list(runs.twins_of(alone, session=session)) == [alone]
    pair = [queued(session), queued(session)]
    for run in pair:
        run.twin_group = "both"
    session.flush()
    assert list(runs.twins_of(pair[1], session=session)) == pair


def test_place_in_queue_counts_those_ahead(session: Session) -> None:
    first, second, third = queued(session), queued(session), queued(session)
    assert [runs.place_in_queue(run, session=session) for run in (first, second, third)] == [1, 2, 3]
    RUN_LEASES.claim(first.id, session=session, worker="w", lease_seconds=60)
    session.refresh(first)
    assert [runs.place_in_queue(run, session=session) for run in (first, second, third)] == [None, 1, 2]


def test_of_several_claimers_exactly_one_wins(engine: Engine) -> None:
    with write_session() as session:
        run_id = queued(session).id

    def claim(number: int) -> str | None:
        with write_session() as session:
            run = RUN_LEASES.claim(run_id, session=session, worker=f"host:{number}", lease_seconds=60)
            return None if run is None else run.worker

    winners = [name for name in concurrently(claim, times=8) if name is not None]
    assert len(winners) == 1
    with read_session() as session:
        run = runs.get(run_id, session=session)
        assert (run.status, run.worker, run.attempt) == (RunStatus.RUNNING, winners[0], 1)
        assert [m for m in messages(run, session) if m.startswith("Started by")] == [
            f"Started by worker {winners[0]}."
        ]


@pytest.mark.parametrize(
    "status", [RunStatus.RUNNING, RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CANCELLED]
)
def test_only_a_queued_run_can_be_claimed(session: Session, status: RunStatus) -> None:
    run = arena.add_run(session, status=status)
    assert RUN_LEASES.claim(run.id, session=session, worker="w", lease_seconds=60) is None
    assert RUN_LEASES.claim(4711, session=session, worker="w", lease_seconds=60) is None
    session.refresh(run)
    assert (run.status, run.attempt) == (status, 0)


def test_a_second_claim_keeps_the_first_start_and_clears_the_error(session: Session) -> None:
    run, lease = claimed(session)
    started = run.started_at
    run_transitions.release(lease, session=session, reason="later")
    session.refresh(run)
    run.error = "old"
    session.flush()
    again = RUN_LEASES.claim(run.id, session=session, worker="other", lease_seconds=60)
    assert again is not None
    assert (again.started_at, again.error, again.worker, again.attempt) == (started, None, "other", 1)
    assert again.lease_id != lease.lease


def test_renewing_moves_the_end_of_the_lease(session: Session) -> None:
    run, lease = claimed(session, lease_seconds=1)
    before = run.lease_until
    assert RUN_LEASES.renew(lease, session=session, lease_seconds=600)
    session.refresh(run)
    assert before is not None
    assert run.lease_until is not None
    assert run.lease_until - before > timedelta(seconds=500)


def test_who_lost_the_lease_changes_nothing(session: Session) -> None:
    run, _ = claimed(session)
    lease = run.lease_id
    stale = Claim(run.id, "another-lease", 1)
    outcomes = [
        RUN_LEASES.renew(stale, session=session, lease_seconds=60),
        run_transitions.set_progress(stale, session=session, step=5, total_steps=9, phase="x"),
        run_transitions.finish(stale, session=session),
        run_transitions.fail(stale, session=session, error="x"),
        run_transitions.mark_cancelled(stale, session=session),
        run_transitions.release(stale, session=session, reason="x"),
    ]
    assert outcomes == [False] * 6
    assert run_transitions.read_wish(stale, session=session) is None
    session.refresh(run)
    assert (run.status, run.step, run.lease_id, run.attempt) == (RunStatus.RUNNING, 0, lease, 1)
    assert messages(run, session) == ["Queued.", "Started by worker host:1:train."]


def test_progress_starts_the_clock_at_the_first_step(session: Session) -> None:
    run, lease = claimed(session)
    assert run_transitions.set_progress(lease, session=session, step=0, total_steps=10, phase="loading" * 40)
    session.refresh(run)
    assert (run.timed_from, len(run.phase)) == (None, 80)
    assert runs.seconds_left(run) is None
    run_transitions.set_progress(lease, session=session, step=1, total_steps=10, phase="training")
    session.refresh(run)
    start = run.timed_from
    assert start is not None
    run_transitions.set_progress(lease, session=session, step=4, total_steps=10, phase="training")
    session.refresh(run)
    assert run.timed_from == start
    assert runs.seconds_left(run, now=start + timedelta(seconds=30)) == pytest.approx(60)


def test_the_ends_of_a_run(session: Session) -> None:
    for end, status, last in (
        (run_transitions.finish, RunStatus.FINISHED, "Finished."),
        (run_transitions.mark_cancelled, RunStatus.CANCELLED, "Cancelled."),
    ):
        run, lease = claimed(session)
        assert end(lease, session=session)
        assert not end(lease, session=session)
        session.refresh(run)
        assert (run.status, run.lease_id, run.phase) == (status, None, "")
        assert run.finished_at is not None
        assert messages(run, session)[-1] == last


def test_a_failure_says_why(session: Session) -> None:
    run, lease = claimed(session)
    assert run_transitions.fail(lease, session=session, error="The disk is full.", traceback="Traceback ...")
    session.refresh(run)
    assert (run.status, run.error, run.traceback) == (RunStatus.FAILED, "The disk is full.", "Traceback ...")
    last = run_events.of_run(run.id, session=session)[-1]
    assert (last.level, last.message) == (EventLevel.ERROR, "The disk is full.")


def test_releasing_does_not_count_the_attempt(session: Session) -> None:
    run, lease = claimed(session)
    RUN_LEASES.mark_sent(run.id, session=session)
    assert run_transitions.release(lease, session=session, reason="The worker goes.")
    session.refresh(run)
    assert (run.status, run.attempt, run.sent_at, run.lease_id) == (RunStatus.QUEUED, 0, None, None)
    assert messages(run, session)[-1] == "The worker goes."


def test_cancelling_a_queued_run_ends_it_at_once(session: Session) -> None:
    run = run_transitions.request_cancel(queued(session).id, session=session)
    assert run.status is RunStatus.CANCELLED
    assert run.finished_at is not None
    assert RUN_LEASES.claim(run.id, session=session, worker="w", lease_seconds=60) is None
    assert messages(run, session)[-1] == "Cancelled before it started."


def test_cancelling_a_running_run_is_a_wish(session: Session) -> None:
    run, lease = claimed(session)
    assert run_transitions.read_wish(lease, session=session) is RunWish.NONE
    assert run_transitions.request_cancel(run.id, session=session).status is RunStatus.RUNNING
    assert run_transitions.read_wish(lease, session=session) is RunWish.CANCEL
    assert run_transitions.mark_cancelled(lease, session=session)


@pytest.mark.parametrize("status", [RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CANCELLED])
def test_what_is_over_cannot_be_cancelled(session: Session, status: RunStatus) -> None:
    run = arena.add_run(session, status=status)
    with pytest.raises(Refused, match=f"is {status.value} already"):
        run_transitions.request_cancel(run.id, session=session)


def test_cancel_and_claim_at_once_agree(engine: Engine) -> None:
    for _ in range(5):
        with write_session() as session:
            run_id = queued(session).id

        def act(number: int, run_id: int = run_id) -> bool:
            with write_session() as session:
                if number:
                    run_transitions.request_cancel(run_id, session=session)
                    return True
                return RUN_LEASES.claim(run_id, session=session, worker="w", lease_seconds=60) is not None

        taken, _ = concurrently(act, times=2)
        with read_session() as session:
            run = runs.get(run_id, session=session)
            assert run.status is (RunStatus.RUNNING if taken else RunStatus.CANCELLED)
            assert run.wish is RunWish.CANCEL


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.RUNNING])
def test_a_run_that_is_not_over_cannot_be_removed(session: Session, status: RunStatus) -> None:
    run = arena.add_run(session, status=status)
    with pytest.raises(Refused, match="cancel it first"):
        removal.remove(run.id, session=session)


def test_a_run_that_answers_cannot_be_removed(session: Session) -> None:
    run = arena.add_run(session)
    conversation = arena.start(session, [ContenderChoice(run_id=run.id)])
    comparison = comparisons.ask(conversation.id, "Q", session=session)
    with pytest.raises(Refused, match="answering"):
        removal.remove(run.id, session=session)
    arena.answer(session, comparison, ["done"], status=GenerationStatus.STOPPED)
    assert removal.remove(run.id, session=session) == [f"runs/{run.id}/10"]


def test_removing_takes_what_training_left_and_nothing_else(session: Session) -> None:
    child_of, other = arena.add_run(session, steps=(5, 10)), arena.add_run(session)
    other.parent_id = child_of.id
    for run in (child_of, other):
        metrics.record(run.id, session=session, step=1, values={"loss": 1.0})
        sample = generations.TrainingSample(GenerationKind.EVAL, 1, "Q", "A", 0, 1, True, -1.0, -1.0)
        generations.record_samples(run.id, [sample], session=session)
    session.flush()
    gone = child_of.id
    paths = removal.remove(gone, session=session)
    while removal.purge(session=session):
        pass
    assert sorted(paths) == [f"runs/{gone}/10", f"runs/{gone}/5"]
    with pytest.raises(NotFound):
        runs.get(gone, session=session)
    assert runs.final_metrics(gone, session=session) == {}
    assert generations.count_of_run(gone, session=session, kind=GenerationKind.EVAL) == 0
    assert list(run_events.of_run(gone, session=session)) == []
    session.refresh(other)
    assert other.parent_id is None
    assert runs.final_metrics(other.id, session=session) == {"loss": 1.0}


def test_the_log_is_cut_to_its_newest_lines(session: Session) -> None:
    run = queued(session)
    for number in range(5):
        run_events.add(session=session, run_id=run.id, message=str(number))
    session.flush()
    assert [e.message for e in run_events.of_run(run.id, session=session, limit=2)] == ["3", "4"]


def test_checkpoints_in_order_and_one_for_a_step(session: Session) -> None:
    run = queued(session)
    assert run_checkpoints.last(run.id, session=session) is None
    for step, path in ((20, "b"), (5, "a"), (20, "c")):
        run_checkpoints.add(run.id, session=session, step=step, path=path)
        session.flush()
    assert [(c.step, c.path) for c in run_checkpoints.of_run(run.id, session=session)] == [
        (5, "a"),
        (20, "c"),
    ]
    last = run_checkpoints.last(run.id, session=session)
    assert last is not None
    assert last.path == "c"


def test_times_come_back_in_utc(engine: Engine) -> None:
    with write_session() as session:
        run, _ = claimed(session)
        written = run.started_at
    with read_session() as session:
        read = runs.get(run.id, session=session).started_at
    assert read is not None
    assert read == written
    assert read.utcoffset() == timedelta(0)
