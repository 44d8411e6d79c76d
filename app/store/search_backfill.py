"""Index generations and prompts that are older than the word indexes, newest first, in small transactions.

Those of generations also get their log-ratios, which are columns since the same version.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, func, literal_column, select, text, update
from sqlalchemy.orm import Session

from app.store.models import Generation, SearchBackfill
from app.store.search_schema import PROMPT_TEXT_SQLITE

ROWS: Final = 1000
"""Rows per transaction: few enough to hold a lock for less than a tenth of a second."""

_SQLITE: Final = {
    "generations": "INSERT INTO generation_words(rowid, text) SELECT id, text FROM generations "
    "WHERE id > :above AND id <= :upto AND status IN ('finished', 'stopped')",
    "prompts": "INSERT INTO prompt_words(rowid, text) "
    f"SELECT id, {PROMPT_TEXT_SQLITE.format('prompts')} FROM prompts WHERE id > :above AND id <= :upto",
}
_POSTGRESQL: Final = {
    "generations": "INSERT INTO generation_words (generation_id, words) SELECT id, words_of(text) FROM ("
    "SELECT id, text FROM generations WHERE id > :above AND id <= :upto "
    "AND status IN ('finished', 'stopped') FOR KEY SHARE SKIP LOCKED) AS found ON CONFLICT DO NOTHING",
    "prompts": "INSERT INTO prompt_words (prompt_id, words) SELECT id, words_of(prompt_text(content)) "
    "FROM prompts WHERE id > :above AND id <= :upto ON CONFLICT DO NOTHING",
}


def fill_some(*, session: Session, rows: int = ROWS) -> bool:
    """Index some older rows; False when none wait."""
    waiting = session.scalars(
        select(SearchBackfill)
        .where(SearchBackfill.next_id > 0)
        .order_by(SearchBackfill.name.desc())
        .limit(1)
        .with_for_update()
    ).first()
    if waiting is None:
        return False
    above = _start(waiting, rows, session)
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    bounds = {"above": above, "upto": waiting.next_id}
    session.execute(text((_SQLITE if on_sqlite else _POSTGRESQL)[waiting.name]), bounds)
    if waiting.name == "generations":
        _measure(above, waiting.next_id, session)
    waiting.next_id = above
    session.flush()
    return True


def share_filled(*, session: Session) -> float | None:
    """The share of the generations that are indexed; None when all are."""
    next_id = session.scalar(
        select(SearchBackfill.next_id).where(SearchBackfill.name == "generations", SearchBackfill.next_id > 0)
    )
    newest = session.scalar(select(func.max(Generation.id)))
    return None if next_id is None or not newest else max(0.0, 1 - next_id / newest)


def _start(waiting: SearchBackfill, rows: int, session: Session) -> int:
    """The id below those of the next `rows` rows; 0 if fewer are left."""
    id_: ColumnElement[int] = literal_column("id")
    ids: Sequence[Any] = session.scalars(
        select(id_)
        .select_from(text(waiting.name))
        .where(id_ <= waiting.next_id)
        .order_by(id_.desc())
        .limit(1)
        .offset(rows)
    ).all()
    return int(ids[0]) if ids else 0


def _measure(above: int, upto: int, session: Session) -> None:
    ratio = Generation.policy_logp - Generation.reference_logp
    session.execute(
        update(Generation)
        .where(
            Generation.id > above, Generation.id <= upto, Generation.log_ratio.is_(None), ratio.is_not(None)
        )
        .values(log_ratio=ratio, token_log_ratio=ratio / func.nullif(Generation.tokens, 0))
        .execution_options(synchronize_session=False)
    )
