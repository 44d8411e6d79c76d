"""Metrics: a redone step overwrites, series come in order, the last value of each name counts."""

import math

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.store import metrics, runs
from app.store.db import write_session
from tests.app import arena
from tests.app.store.concurrently import concurrently


def test_a_step_done_again_takes_the_place_of_the_first(session: Session) -> None:
    run = arena.add_run(session)
    metrics.record(run.id, session=session, step=1, values={"loss": 0.7, "rewards/margins": 0.0})
    metrics.record(run.id, session=session, step=2, values={"loss": 0.6})
    session.flush()
    metrics.record(run.id, session=session, step=2, values={"loss": 0.5})
    session.flush()
    points = metrics.series([run.id], ["loss", "rewards/margins", "absent"], session=session)
    assert points == {(run.id, "loss"): [(1, 0.7), (2, 0.5)], (run.id, "rewards/margins"): [(1, 0.0)]}


def test_series_of_several_runs_in_the_order_of_steps(session: Session) -> None:
    first, second = arena.add_run(session), arena.add_run(session)
    for step in (10, 2, 30):
        metrics.record(first.id, session=session, step=step, values={"loss": float(step)})
    metrics.record(second.id, session=session, step=1, values={"loss": 9.0, "kl": 1.0})
    session.flush()
    points = metrics.series([first.id, second.id], ["loss"], session=session)
    assert points[(first.id, "loss")] == [(2, 2.0), (10, 10.0), (30, 30.0)]
    assert points[(second.id, "loss")] == [(1, 9.0)]
    assert list(metrics.names_of([first.id, second.id], session=session)) == ["kl", "loss"]
    assert metrics.series([], ["loss"], session=session) == {}


def test_numbers_keep_every_digit(session: Session) -> None:
    run = arena.add_run(session)
    values = {"pi": math.pi, "small": 5e-324, "large": 1.7e308, "negative": -0.1}
    metrics.record(run.id, session=session, step=1, values=values)
    session.commit()
    assert runs.final_metrics(run.id, session=session) == values


def test_final_metrics_are_the_last_of_each_name(session: Session) -> None:
    run, other = arena.add_run(session), arena.add_run(session)
    metrics.record(run.id, session=session, step=1, values={"loss": 1.0, "eval_loss": 2.0})
    metrics.record(run.id, session=session, step=10, values={"loss": 0.5})
    metrics.record(other.id, session=session, step=99, values={"loss": 9.0})
    session.flush()
    assert runs.final_metrics(run.id, session=session) == {"loss": 0.5, "eval_loss": 2.0}


def test_nothing_recorded_is_nothing_found(session: Session) -> None:
    run = arena.add_run(session)
    metrics.record(run.id, session=session, step=1, values={})
    session.flush()
    assert runs.final_metrics(run.id, session=session) == {}


@pytest.mark.parametrize("writers", [6])
def test_many_runs_write_at_once(engine: Engine, writers: int) -> None:
    with write_session() as session:
        ids = [arena.add_run(session).id for _ in range(writers)]

    def write(number: int) -> None:
        for step in range(20):
            with write_session() as session:
                metrics.record(ids[number], session=session, step=step, values={"a": 1.0, "b": 2.0})

    concurrently(write, times=writers)
    with write_session() as session:
        points = metrics.series(ids, ["a", "b"], session=session)
    assert {len(series) for series in points.values()} == {20}
    assert len(points) == 2 * writers
