"""Removing a run: hidden at once, rows deleted in small batches, nothing else affected."""

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.store import comparisons, label_queries, labels, metrics, removal, run_events, run_lists, runs
from app.store.db import write_session
from app.store.enums import Choice, GenerationKind, RunStatus
from app.store.generations import TrainingSample, record_samples
from app.store.models import Generation, Metric, Run, RunEvent
from tests.app import arena


def add_rows(run_id: int, session: Session, *, steps: int = 7) -> None:
    """Add points, samples and log lines of a run."""
    for step in range(steps):
        metrics.record(run_id, session=session, step=step, values={"loss": 1.0, "eval_loss": 2.0})
        sample = TrainingSample(GenerationKind.ONLINE, step, "Q", "A", 1, 2, True, -1.0, -2.0)
        record_samples(run_id, [sample], session=session)
        run_events.add(session=session, run_id=run_id, message=f"Step {step}.")
    session.flush()


def rows_of(run_id: int, session: Session) -> list[int]:
    return [
        session.scalar(select(func.count()).select_from(table).where(table.run_id == run_id)) or 0
        for table in (Generation, Metric, RunEvent)
    ]


def test_a_removed_run_is_out_of_sight_before_its_rows_go(session: Session) -> None:
    twin, run, child = (arena.add_run(session) for _ in range(3))
    run.twin_group = twin.twin_group = "twins"
    run.finished_at = run.created_at
    child.parent_id = run.id
    add_rows(run.id, session)
    session.commit()
    assert removal.remove(run.id, session=session) == [f"runs/{run.id}/10"]
    session.commit()
    with pytest.raises(NotFound):
        runs.get(run.id, session=session)
    with pytest.raises(NotFound):
        removal.remove(run.id, session=session)
    assert [found.id for found in runs.find(session=session)] == [child.id, twin.id]
    assert [found.id for found in runs.twins_of(twin, session=session)] == [twin.id]
    assert runs.of_ids([run.id, twin.id], session=session) == [twin]
    assert runs.count_by_status(session=session) == {RunStatus.FINISHED: 2}
    assert run_lists.ended_last(session=session, limit=5) == []
    assert runs.get(child.id, session=session).parent_id is None
    assert rows_of(run.id, session)[1] == 14


def test_rows_go_a_few_at_a_time_and_others_stay(session: Session) -> None:
    kept, run = arena.add_run(session), arena.add_run(session)
    add_rows(kept.id, session)
    add_rows(run.id, session)
    before, total = rows_of(kept.id, session), sum(rows_of(run.id, session))
    removal.remove(run.id, session=session)
    session.commit()
    while removal.purge(session=session, rows=4):
        session.commit()
        left = sum(rows_of(run.id, session))
        assert total - left <= 4
        total = left
    assert total == 0
    assert rows_of(kept.id, session) == before
    assert session.scalar(select(func.count()).where(Run.id == run.id)) == 0


def test_answers_and_votes_of_a_removed_run_stay(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session)
        run_id = comparison.conversation.contenders[1].run_id
        assert run_id is not None
        label = labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=1).id
    with write_session() as session:
        removal.remove(run_id, session=session)
    more = True
    while more:
        with write_session() as session:
            more = removal.purge(session=session)
    with write_session() as session:
        vote = label_queries.details(label, session=session)
        assert [side.contender.run_id for side in vote.sides] == [None, None]
        assert [side.contender.name for side in vote.sides] == ["Reference", "dpo run"]
        assert len(comparisons.answers(vote.comparison.id, session=session)) == 2
