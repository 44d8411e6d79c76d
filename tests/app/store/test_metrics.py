"""Metrics: a repeated step overwrites, series are ordered, the last value of each name is final."""

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


def test_a_long_series_is_thinned_to_means_whose_sum_is_that_of_all(session: Session) -> None:
    run, short = arena.add_run(session), arena.add_run(session)
    for step in range(1, 101):
        metrics.record(run.id, session=session, step=step, values={"step_time": float(step)})
    metrics.record(short.id, session=session, step=7, values={"step_time": 2.5})
    session.flush()
    found = metrics.thinned([run.id, short.id], ["step_time", "absent"], session=session, most=10)
    assert [step for step, _ in found[run.id, "step_time"]] == list(range(10, 101, 10))
    assert [value for _, value in found[run.id, "step_time"]][:2] == [5.5, 15.5]
    assert sum(10 * value for _, value in found[run.id, "step_time"]) == 5050
    assert found[short.id, "step_time"] == [(7, 2.5)]
    assert len(found) == 2


def test_a_series_with_gaps_keeps_a_point_for_each_group_and_the_last_step(session: Session) -> None:
    run = arena.add_run(session)
    for step in (0, 10, 20, 500, 510, 1000):
        metrics.record(run.id, session=session, step=step, values={"loss": float(step)})
    session.flush()
    found = metrics.thinned([run.id], ["loss"], session=session, most=3)
    assert found == {(run.id, "loss"): [(20, 10.0), (510, 505.0), (1000, 1000.0)]}
