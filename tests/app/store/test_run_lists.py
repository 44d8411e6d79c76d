"""Data that lists show for runs, queried for all of them at once."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from app.store import metrics, run_lists, runs
from app.store.enums import RunStatus
from app.store.models import utcnow
from app.views import run_view, run_views
from tests.app import arena


def test_places_count_all_that_wait_before(session: Session) -> None:
    first, over, second, third = (arena.add_run(session) for _ in range(4))
    for run in (first, second, third):
        run.status = RunStatus.QUEUED
    session.flush()
    places = run_lists.places_in_queue([third, over, first], session=session)
    assert places == {first.id: 1, third.id: 3}
    assert run_lists.places_in_queue([over], session=session) == {}
    assert [run.id for run in run_lists.queued_first(session=session, limit=2)] == [first.id, second.id]


def test_the_last_values_of_many_runs(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lists, "BATCH", 2)
    found = [arena.add_run(session) for _ in range(5)]
    for number, run in enumerate(found[:4]):
        for step in (1, 2, 10):
            metrics.record(run.id, session=session, step=step, values={"b": float(step), "a": -float(number)})
        metrics.record(run.id, session=session, step=5, values={"eval": 0.5})
    session.flush()
    last = run_lists.final_metrics([run.id for run in found], session=session)
    assert last == {
        run.id: {"a": -float(number), "b": 10.0, "eval": 0.5} for number, run in enumerate(found[:4])
    }
    assert run_lists.final_metrics([], session=session) == {}
    assert run_views(found, session=session) == [run_view(run, session=session) for run in found]


def test_what_ended_last_is_found_behind_a_long_queue(session: Session) -> None:
    ended = [arena.add_run(session) for _ in range(3)]
    for minutes, run in zip((1, 9, 5), ended, strict=True):
        run.finished_at = utcnow() - timedelta(minutes=minutes)
    for _ in range(70):
        arena.add_run(session, status=RunStatus.QUEUED, dataset_id=ended[0].dataset_id)
    session.flush()
    order = [ended[0].id, ended[2].id, ended[1].id]
    assert [run.id for run in run_lists.ended_last(session=session, limit=6)] == order
    assert runs.count_by_status(session=session) == {RunStatus.FINISHED: 3, RunStatus.QUEUED: 70}
