"""The parts of a search that an index finds: words, prompts, runs, steps, chats, each with its size.

The smallest part decides how a page is found (generation_search.py). With the others rows are tested; the
columns of these conditions are hidden from the indexes, which the database would otherwise read as a whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    and_,
    column,
    exists,
    func,
    literal,
    or_,
    select,
    table,
    union_all,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from app.store import search_words
from app.store.enums import GenerationKind
from app.store.generation_filter import GenerationFilter, GenerationOrigin
from app.store.models import Comparison, Contender, Conversation, Generation, NamesSeen
from app.store.search_words import Search

A_FEW: Final = 500
FEW: Final = 5_000
"""A part of up to this many rows is read and sorted. With more, the order is walked until a page is full."""
MANY: Final = 150_000
"""Up to this many hits of words are listed to test rows with. With more, a few rows are looked up faster."""

_KEYS: Final = {"generation_words": "generation_id", "prompt_words": "prompt_id"}


@dataclass(frozen=True, slots=True)
class Part:
    """A condition that an index can answer.

    Attributes:
        ids: the ids of its rows.
        driving: the condition that lets the database read exactly these rows.
        test: the condition to test other rows with, after its rows were listed once.
        size: the number of its rows, counted up to `FEW` or `MANY`.
        each: the condition to test a few rows with, each in the index.
        stream: its index, if that gives the rows newest first without reading all of them.
        slices: conditions that it consists of, for each of which an index gives the rows newest first.
    """

    ids: Select[Any] | CompoundSelect[Any]
    driving: ColumnElement[bool]
    test: ColumnElement[bool]
    size: int
    each: ColumnElement[bool] | None = None
    stream: "Stream | None" = None
    slices: tuple[ColumnElement[bool], ...] = ()

    @property
    def walked(self) -> ColumnElement[bool]:
        """The condition to test rows with until a page is full: few rows if most of them pass."""
        return self.test_of(0)

    def test_of(self, rows: int) -> ColumnElement[bool]:
        """The condition to test this many rows with."""
        return self.each if self.each is not None and rows <= A_FEW and self.size > MANY else self.test


@dataclass(frozen=True, slots=True)
class Stream:
    """An index whose rows come in the order of ids: its table, its id, and its condition."""

    index: Any
    row: ColumnElement[int]
    matches: ColumnElement[bool]


def plain(column: Any) -> ColumnElement[Any]:
    """A number as an expression, for which no index is used."""
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


def parts(only: GenerationFilter, me: int | None, session: Session) -> list[Part]:
    """The conditions of a filter that an index can answer, the smallest first."""
    found = [*_of_words(only, session), *_listed(only, me, session)]
    return sorted(found, key=lambda part: part.size)


def size_of(rows: Select[Any] | CompoundSelect[Any], most: int, session: Session) -> int:
    """The number of rows, counted up to one more than `most`."""
    return session.scalar(select(func.count()).select_from(rows.limit(most + 1).subquery())) or 0


# --- words -----------------------------------------------------------------------------------


def _of_words(only: GenerationFilter, session: Session) -> Iterator[Part]:
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    search = search_words.parse(only.text, field="text")
    if search is not None:
        stream = _hits("generation_words", search, on_sqlite)
        hits = select(stream.row.label("id")).where(stream.matches)
        each = exists(select(1).select_from(stream.index).where(stream.row == Generation.id, stream.matches))
        each = each.correlate(Generation)
        test = plain(Generation.id).in_(hits) if on_sqlite else each
        size = size_of(hits, MANY if on_sqlite else FEW, session)
        newest = hits.order_by(stream.row.desc()) if on_sqlite else hits
        yield Part(newest, Generation.id.in_(hits), test, size, each, stream if on_sqlite else None)
    search = search_words.parse(only.prompt_text, field="prompt")
    if search is not None:
        stream = _hits("prompt_words", search, on_sqlite)
        yield _with_prompts(select(stream.row).where(stream.matches), session)


def _with_prompts(prompts: Select[Any], session: Session) -> Part:
    driving = Generation.prompt_id.in_(prompts)
    ids = select(Generation.id).where(driving)
    return Part(ids, driving, plain(Generation.prompt_id).in_(prompts), size_of(ids, FEW, session))


def _hits(words: str, search: Search, on_sqlite: bool) -> Stream:
    if on_sqlite:
        index = table(words, column("rowid"), column(words))
        return Stream(index, index.c.rowid, index.c[words].op("MATCH")(search.fts5))
    index = table(words, column(_KEYS[words]), column("words"))
    return Stream(index, index.c[_KEYS[words]], index.c.words.op("@@")(search.tsquery))


# --- prompts, runs, chats, campaigns ---------------------------------------------------------


def _listed(only: GenerationFilter, me: int | None, session: Session) -> Iterator[Part]:
    if only.prompt_id is not None:
        yield _with_prompts(select(literal(only.prompt_id)), session)
    if only.run_ids:
        yield _of_runs(only, session)
    if only.first_step is not None or only.last_step is not None:
        yield _of_steps(only, session)
    for comparisons in _comparisons(only, me):
        driving = Generation.comparison_id.in_(comparisons)
        ids = select(Generation.id).where(driving)
        test = plain(Generation.comparison_id).in_(comparisons)
        yield Part(ids, driving, test, size_of(ids, FEW, session))


def _of_runs(only: GenerationFilter, session: Session) -> Part:
    """Samples of some runs, and answers of their checkpoints."""
    sample = Generation.__table__.alias("sample")
    own = select(sample.c.id).where(sample.c.run_id.in_(only.run_ids))
    sampled = tuple(Generation.run_id == run_id for run_id in only.run_ids)
    test: ColumnElement[bool] = plain(Generation.run_id).in_(only.run_ids)
    if only.kinds and GenerationKind.ANSWER not in only.kinds:
        driving = Generation.run_id.in_(only.run_ids)
        return Part(own, driving, test, size_of(own, FEW, session), slices=sampled)
    answered = _answered(only)
    ids = union_all(own, answered)
    test = or_(test, plain(Generation.id).in_(answered))
    slices = (*sampled, Generation.id.in_(answered))
    return Part(ids, Generation.id.in_(ids), test, size_of(ids, FEW, session), slices=slices)


def _of_steps(only: GenerationFilter, session: Session) -> Part:
    """Samples of a range of steps."""

    def within(step: Any) -> ColumnElement[bool]:
        first = step >= (only.first_step or 0)
        return first if only.last_step is None else and_(first, step <= only.last_step)

    driving = within(Generation.step)
    ids = select(Generation.id).where(driving)
    return Part(ids, driving, within(plain(Generation.step)), size_of(ids, FEW, session))


def _answered(only: GenerationFilter) -> Select[tuple[int]]:
    """The ids of the answers of some runs' checkpoints."""
    answer = Generation.__table__.alias("answer")
    seat = and_(
        Contender.conversation_id == Comparison.conversation_id, Contender.position == answer.c.position
    )
    return (
        select(answer.c.id)
        .join(Comparison, answer.c.comparison_id == Comparison.id)
        .join(Contender, seat)
        .where(Contender.run_id.in_(only.run_ids))
    )


def _comparisons(only: GenerationFilter, me: int | None) -> Iterator[Select[Any]]:
    """The ids of the comparisons of an origin: the few of a person, which an index then finds."""
    if only.origin is GenerationOrigin.CHAT:
        own = select(Conversation.id).where(
            Conversation.user_id == (me or 0), Conversation.campaign_id.is_(None)
        )
        yield select(Comparison.id).where(Comparison.conversation_id.in_(own))
    elif only.origin is GenerationOrigin.CAMPAIGN:
        seen = select(NamesSeen.comparison_id).where(NamesSeen.user_id == (me or 0))
        yield select(Comparison.id).where(Comparison.id.in_(seen), Comparison.campaign_id.is_not(None))
    if only.campaign_id is not None:
        yield select(Comparison.id).where(Comparison.campaign_id == only.campaign_id)
