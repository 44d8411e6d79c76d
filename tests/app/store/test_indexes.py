"""Indexes: one for every foreign key, and for every frequent query."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, Table, event
from sqlalchemy.orm import Session

from app.store import (
    answering,
    comparisons,
    conversations,
    generation_search,
    generations,
    label_queries,
    labels,
    metrics,
    overdue_cancels,
    recovery,
    removal,
    run_dependencies,
    run_events,
    run_lists,
    runs,
    tallies,
    vote_games,
    vote_totals,
)
from app.store.answering import ANSWER_LEASES, WAKE_UPS
from app.store.enums import Choice, GenerationKind, RunStatus
from app.store.generation_filter import GenerationFilter, GenerationOrigin, GenerationSort
from app.store.models import Base, Comparison, Run
from app.store.run_transitions import RUN_LEASES
from tests.app import arena

FOREIGN_KEYS = [
    pytest.param(table, tuple(constraint.column_keys), id=f"{table.name}.{'+'.join(constraint.column_keys)}")
    for table in Base.metadata.sorted_tables
    for constraint in sorted(table.foreign_key_constraints, key=lambda key: tuple(key.column_keys))
]


def indexed(table: Table) -> Iterator[tuple[str, ...]]:
    """The column lists of everything that serves as an index of all rows."""
    yield tuple(column.name for column in table.primary_key.columns)
    for index in table.indexes:
        if not any(
            name.endswith("where") and value is not None for name, value in index.dialect_kwargs.items()
        ):
            yield tuple(column.name for column in index.columns)
    for constraint in table.constraints:
        if type(constraint).__name__ == "UniqueConstraint":
            yield tuple(column.name for column in constraint.columns)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("table", "columns"), FOREIGN_KEYS)
def test_every_foreign_key_has_an_index(table: Table, columns: tuple[str, ...]) -> None:
    """Deleting a row checks for references to it; without an index that is a full table scan."""
    assert any(found[: len(columns)] == columns for found in indexed(table))


# --- plans -----------------------------------------------------------------------------------

MANY_ROWS = {*Base.metadata.tables} - {"workers", "users"}
"""All other tables have a few hundred rows at most and may be scanned."""


@contextmanager
def statements(session: Session) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements sent to the database in the block, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, _many: bool) -> None:
        sent.append((statement, parameters))

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def whole_reads(statement: str, parameters: Any, session: Session) -> list[str]:
    """The lines of a statement's plan that scan a whole table without an index."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        lines = [str(row[3]) for row in plan]
        found = [line for line in lines if line.startswith("SCAN") and " INDEX " not in line]
        sorts = any("B-TREE" in line for line in lines)
        if " LIMIT " in statement and " WHERE " not in statement and not sorts:
            return []  # it follows the primary key and stops early
        return [line for line in found if line.split()[1] in MANY_ROWS]
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
    lines = [str(row[0]).strip() for row in plan]
    found = [line for line in lines if "Seq Scan on " in line]
    return [line for line in found if line.partition("Seq Scan on ")[2].split()[0] in MANY_ROWS]


def find_texts(session: Session, **only: Any) -> None:
    """Search generations in two orders, and count them."""
    chosen = GenerationFilter(**only)
    for sort in (GenerationSort.NEWEST, GenerationSort.TOKENS):
        generation_search.find(chosen, session=session, viewer="ada", sort=sort)
    generation_search.count(chosen, session=session, viewer="ada")


Asked = Callable[[Session, Run, Run], Any]
ASKED: dict[str, Asked] = {
    "leases of runs": lambda s, r, q: RUN_LEASES.all_held(session=s),
    "lost runs": lambda s, r, q: recovery.reap(["a lease"], session=s, max_attempts=3),
    "runs of a dead worker": lambda s, r, q: RUN_LEASES.expire(["a lease"], session=s),
    "some run to send again": lambda s, r, q: RUN_LEASES.is_undelivered(session=s, resend_seconds=60),
    "age of a message": lambda s, r, q: recovery.resend_after(session=s, resend_seconds=60, train_workers=1),
    "runs to send again": lambda s, r, q: RUN_LEASES.take_undelivered(session=s, resend_seconds=60),
    "some comparison to send again": lambda s, r, q: WAKE_UPS.is_undelivered(session=s, resend_seconds=60),
    "comparisons to send again": lambda s, r, q: WAKE_UPS.take_undelivered(session=s, resend_seconds=60),
    "leases of comparisons": lambda s, r, q: ANSWER_LEASES.all_held(session=s),
    "lost comparisons": lambda s, r, q: answering.reap(["a lease"], session=s),
    "comparisons of a dead worker": lambda s, r, q: ANSWER_LEASES.expire(["a lease"], session=s),
    "claim of a comparison": lambda s, r, q: ANSWER_LEASES.claim_next(
        session=s, worker="w", lease_seconds=60
    ),
    "claim of what has waited longest": lambda s, r, q: answering.claim_next(
        session=s, worker="w", lease_seconds=60, lease="a lease", rows=48
    ),
    "claim of a campaign's comparisons": lambda s, r, q: ANSWER_LEASES.claim_more(
        Comparison(lease_id="a lease", worker="w"),
        Comparison.campaign_id == 1,
        session=s,
        lease_seconds=60,
        limit=16,
    ),
    "unfinished answers": lambda s, r, q: generations.unfinished_answers([1, 2], session=s),
    "claim of a run": lambda s, r, q: RUN_LEASES.claim_next(session=s, worker="w", lease_seconds=60),
    "votes to count": lambda s, r, q: tallies.count_waiting(session=s),
    "place in the queue": lambda s, r, q: runs.place_in_queue(q, session=s),
    "runs by state": lambda s, r, q: runs.count_by_status(session=s),
    "answering with a run": lambda s, r, q: answering.answering_with(r.id, session=s),
    "overdue cancels": lambda s, r, q: overdue_cancels.of_worker("w", session=s),
    "last event": lambda s, r, q: run_events.last_id([r.id], session=s),
    "new points": lambda s, r, q: metrics.revision([r.id], session=s),
    "points": lambda s, r, q: metrics.series([r.id], ["loss"], session=s),
    "last values": lambda s, r, q: runs.final_metrics(r.id, session=s),
    "steps with samples": lambda s, r, q: generations.steps_of_run(
        r.id, session=s, kind=GenerationKind.PROBE
    ),
    "newest samples": lambda s, r, q: generations.newest_of_run(
        r.id, session=s, kind=GenerationKind.ONLINE, limit=20
    ),
    "answers": lambda s, r, q: comparisons.answers(1, session=s),
    "turns": lambda s, r, q: comparisons.turns(1, session=s),
    "recent conversations": lambda s, r, q: conversations.recent(session=s, user="ada"),
    "newest votes": lambda s, r, q: label_queries.votes(session=s),
    "votes by kind": lambda s, r, q: label_queries.count(session=s),
    "training pairs": lambda s, r, q: label_queries.count_left_out(session=s),
    "win rates": lambda s, r, q: vote_totals.pairs(session=s),
    "games": lambda s, r, q: vote_games.games(session=s),
    "games that a viewer may see": lambda s, r, q: vote_games.games(session=s, viewer="ada"),
    "version of the votes": lambda s, r, q: vote_games.version(session=s, viewer="ada"),
    "vote": lambda s, r, q: labels.vote(1, session=s, user="bob", choice=Choice.TIE),
    "removal": lambda s, r, q: [removal.remove(r.id, session=s), s.flush(), removal.purge(session=s)],
    "last values of many": lambda s, r, q: run_lists.final_metrics([r.id, q.id], session=s),
    "thinned points": lambda s, r, q: metrics.thinned([r.id], ["loss"], session=s, most=2),
    "ended last": lambda s, r, q: run_lists.ended_last(session=s, limit=5),
    "runs to start": lambda s, r, q: run_dependencies.startable_after(r.id, session=s),
    "stranded runs": lambda s, r, q: run_dependencies.stranded(session=s),
    "texts with words": lambda s, r, q: find_texts(s, text="could -would", kinds=[GenerationKind.EVAL]),
    "texts of a prompt": lambda s, r, q: find_texts(s, prompt_text="could"),
    "texts of runs": lambda s, r, q: find_texts(s, run_ids=(r.id, q.id)),
    "texts of steps": lambda s, r, q: find_texts(s, first_step=3, last_step=4),
    "own chats": lambda s, r, q: find_texts(s, origin=GenerationOrigin.CHAT),
    "queued first": lambda s, r, q: run_lists.queued_first(session=s, limit=5),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_often_uses_an_index(engine: Engine, session: Session, asked: str) -> None:
    comparison = arena.asked(session)
    labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0)
    run, queued = arena.add_run(session), arena.add_run(session, status=RunStatus.QUEUED)
    session.commit()
    with statements(session) as sent:
        ASKED[asked](session, run, queued)
    read = [
        (statement, line)
        for statement, parameters in sent
        if statement.startswith(("SELECT", "UPDATE", "DELETE"))
        for line in whole_reads(statement, parameters, session)
    ]
    assert sent
    assert read == []
