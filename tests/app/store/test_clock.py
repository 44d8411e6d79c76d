"""The database's clock: every stored time comes from it, never from a process."""

import datetime
import time
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store import clock, generations, metrics, recovery, run_transitions, runs, workers
from app.store.base import Base, UTCDateTime
from app.store.claims import Claim
from app.store.enums import RunStatus
from app.store.models import Metric, RunEvent, Worker
from app.store.run_transitions import RUN_LEASES
from tests.app import arena


def test_it_is_read_compared_and_moved(session: Session) -> None:
    before = clock.read(session=session)
    assert abs(before - datetime.datetime.now(datetime.UTC)) < timedelta(seconds=5)
    earlier, now, later = session.execute(select(clock.after(-90), clock.now(), clock.after(0.5))).one()
    assert now - earlier == timedelta(seconds=90)
    assert later - now == timedelta(seconds=0.5)
    assert session.scalar(select(clock.now() < clock.after(1)))
    assert session.scalar(select(clock.after(-86_400) < clock.now()))
    time.sleep(0.01)
    assert clock.read(session=session) > before, "it moves within a transaction"
    assert abs(clock.present() - before) < timedelta(seconds=1)


@pytest.fixture(params=[-600, 600], ids=["slow", "fast"])
def wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set this process's clock ten minutes slow or fast."""
    seconds, real_time, real = request.param, time.time, datetime.datetime

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return real.now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr(time, "time", lambda: real_time() + seconds)
    for module in ("app.store.base", "app.store.clock"):
        monkeypatch.setattr(f"{module}.datetime", Shifted)


@pytest.mark.usefixtures("wrong")
def test_a_process_whose_clock_is_wrong_writes_right_times(session: Session) -> None:
    run = arena.add_run(session, status=RunStatus.QUEUED)
    RUN_LEASES.mark_sent(run.id, session=session)
    claimed = RUN_LEASES.claim(run.id, session=session, worker="w", lease_seconds=60)
    assert claimed is not None
    lease = Claim.of(claimed)
    workers.beat("w", session=session, queues="train", device="CPU")
    workers.beat("w", session=session, queues="train", device="CPU")
    run_transitions.set_progress(lease, session=session, step=1, total_steps=9, phase="training")
    run_transitions.set_progress(lease, session=session, step=2, total_steps=9, phase="training")
    metrics.record(run.id, session=session, step=1, values={"loss": 0.5})
    assert recovery.reap([lease.lease], session=session, max_attempts=1) == []
    assert [worker.id for worker in workers.present(session=session)] == ["w"]
    assert not RUN_LEASES.is_undelivered(session=session, resend_seconds=60)
    assert RUN_LEASES.renew(lease, session=session, lease_seconds=60)
    session.expire_all()
    now = clock.read(session=session)
    assert run.lease_until is not None
    assert abs(run.lease_until - now - timedelta(seconds=60)) < timedelta(seconds=5)
    worker, event, metric = (session.scalars(select(table)).first() for table in (Worker, RunEvent, Metric))
    assert worker is not None
    assert event is not None
    assert metric is not None
    written = [
        run.created_at,
        run.sent_at,
        run.started_at,
        run.timed_from,
        worker.seen_at,
        event.at,
        metric.at,
    ]
    assert all(at is not None and abs(at - now) < timedelta(seconds=10) for at in written), written
    left = runs.seconds_left(run)
    assert left is not None
    assert left < 60
    assert run_transitions.finish(lease, session=session)
    session.refresh(run)
    assert run.finished_at is not None
    assert abs(run.finished_at - now) < timedelta(seconds=10)


def test_no_table_takes_a_time_from_a_process() -> None:
    """Defaults are server-side; a Python default would use the writer's clock."""
    own = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, UTCDateTime)
        and column.default is not None
        and getattr(column.default, "is_callable", False)
    }
    assert own == set()
    assert generations  # imports all tables
