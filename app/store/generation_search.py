"""Search of all finished generations by their text, prompt and origin; the database finds, sorts and pages.

Whoever reads sees what the other pages show as well: samples of runs, the own chats, and the answers of a
campaign. Answers whose names are still hidden from the reader are in no list. Beside a probe answer with the
same text, or in an order by a number, each would tell who wrote it.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    and_,
    column,
    exists,
    func,
    literal,
    or_,
    select,
    table,
    tuple_,
)
from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.store import search_words, users
from app.store.enums import GenerationKind, GenerationStatus
from app.store.generation_filter import GenerationFilter, GenerationOrigin, GenerationSort, Place
from app.store.models import Comparison, Contender, Conversation, Generation, NamesSeen, Run
from app.store.search_words import Search

MOST_COUNTED: Final = 10_000
MOST_COUNTED_BY_ROW: Final = 1_000
"""Matches are counted up to these numbers; the second is for common words, which are looked up row by row."""
COMMON: Final = 30_000
"""Words with more hits are common. Up to it, reading all hits takes less time than testing rows for them."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of generations by id, in order, and the place where the next page begins; None on the last."""

    ids: list[int]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Count:
    """A number of matches; with `more`, there are more than that."""

    number: int
    more: bool


def find(
    only: GenerationFilter,
    *,
    session: Session,
    viewer: str,
    sort: GenerationSort = GenerationSort.NEWEST,
    ascending: bool = False,
    limit: int = 50,
    after: Place | None = None,
) -> Found:
    """A page of the generations that match and that a person may see.

    Args:
        after: the place of the last row of the previous page.

    Raises:
        InvalidInput: for a filter that cannot be searched for.
    """
    key = sort.column
    conditions, _ = _conditions(only, viewer, session)
    if sort is GenerationSort.NEWEST:
        order: tuple[Any, ...] = (Generation.id,)
    else:
        order = (key, Generation.id)
        conditions.append(key.is_not(None))
    if after is not None:
        here = tuple_(*order)
        place = tuple_(*map(literal, _values(sort, after)))
        conditions.append(here > place if ascending else here < place)
    query = select(Generation.id, key.label("place")).where(*conditions).limit(limit + 1)
    rows = session.execute(query.order_by(*(part if ascending else part.desc() for part in order))).all()
    shown = rows[:limit]
    following = Place(float(shown[-1].place), shown[-1].id) if len(rows) > limit else None
    return Found([row.id for row in shown], following)


def _values(sort: GenerationSort, place: Place) -> tuple[float | int, ...]:
    if sort is GenerationSort.NEWEST:
        return (place.id,)
    if sort is GenerationSort.TOKENS:
        if not place.value.is_integer() or abs(place.value) >= 2**31:
            raise InvalidInput("cursor must be the `next` of the previous page.", field="cursor")
        return (int(place.value), place.id)
    return (place.value, place.id)


def count(only: GenerationFilter, *, session: Session, viewer: str) -> Count:
    """The number of generations that match and that a person may see."""
    conditions, by_row = _conditions(only, viewer, session)
    most = MOST_COUNTED_BY_ROW if by_row else MOST_COUNTED
    some = select(Generation.id).where(*conditions).limit(most + 1)
    number = session.scalar(select(func.count()).select_from(some.subquery())) or 0
    return Count(min(number, most), more=number > most)


def is_visible(generation_id: int, *, session: Session, viewer: str) -> bool:
    """Whether a person may open a generation: one that the list shows, or an answer of anybody's chat.

    Chats of others are in nobody's list, but open by their address, here as on the compare page. So do
    answers whose names are hidden, which the caller must not show.
    """
    me = users.find(viewer, session=session)
    query = select(Generation.id).where(Generation.id == generation_id, _over(), _visible(me, linked=True))
    return session.scalar(query) is not None


# --- conditions ------------------------------------------------------------------------------


def _conditions(
    only: GenerationFilter, viewer: str, session: Session
) -> tuple[list[ColumnElement[bool]], bool]:
    """The conditions of a filter, and whether they look up a common word row by row."""
    only.check()
    me = users.find(viewer, session=session)
    found, by_row = [_over(), _visible(me)], False
    for text, field, words, key in (
        (only.text, "text", "generation_words", Generation.id),
        (only.prompt_text, "prompt", "prompt_words", Generation.prompt_id),
    ):
        search = search_words.parse(text, field=field)
        if search is not None:
            condition, is_common = _has_words(search, words, key, session)
            found.append(condition)
            by_row |= is_common
    if only.prompt_id is not None:
        found.append(Generation.prompt_id == only.prompt_id)
    if only.kinds:
        found.append(Generation.kind.in_(only.kinds))
    if only.run_ids:
        found.append(_of_runs(only))
    if only.first_step is not None:
        found.append(Generation.step >= only.first_step)
    if only.last_step is not None:
        found.append(Generation.step <= only.last_step)
    return found + _of_origin(only, me), by_row


def _over() -> ColumnElement[bool]:
    return Generation.status.in_([GenerationStatus.FINISHED, GenerationStatus.STOPPED])


def _visible(me: int | None, *, linked: bool = False) -> ColumnElement[bool]:
    """The condition for generations that a list shows to a person.

    Args:
        linked: include the chats of others, and chats whose names are hidden from the person.
    """
    deleted = select(Run.id).where(Run.deleted_at.is_not(None))
    of_run = and_(Generation.comparison_id.is_(None), Generation.run_id.not_in(deleted))
    seen = exists().where(NamesSeen.comparison_id == Comparison.id, NamesSeen.user_id == (me or 0))
    own = Conversation.user_id == (me or 0), or_(~Conversation.blind, seen)
    chat = and_(Conversation.campaign_id.is_(None), *(() if linked else own))
    shown = or_(chat, and_(Conversation.campaign_id.is_not(None), seen))
    answered = (
        select(1)
        .select_from(Comparison)
        .join(Conversation, Comparison.conversation_id == Conversation.id)
        .where(Comparison.id == Generation.comparison_id, shown)
    )
    return or_(of_run, answered.exists())


def _has_words(search: Search, words: str, key: Any, session: Session) -> tuple[ColumnElement[bool], bool]:
    """The condition for rows whose text has the words of a search, and whether these are common.

    The hits of rare words are read first, and then looked up. With common ones, a page is full after a few
    rows of the list, each of which is tested.
    """
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    if on_sqlite:
        index = table(words, column("rowid"), column(words))
        row, matches = index.c.rowid, index.c[words].op("MATCH")(search.fts5)
    else:
        index = table(words, column(_KEYS[words]), column("words"))
        row, matches = index.c[_KEYS[words]], index.c.words.op("@@")(search.tsquery)
    some = select(row).where(matches).limit(COMMON + 1).subquery()
    if (session.scalar(select(func.count()).select_from(some)) or 0) <= COMMON:
        return key.in_(select(row).where(matches)), False
    return exists(select(1).select_from(index).where(row == key, matches).correlate(Generation)), True


_KEYS: Final = {"generation_words": "generation_id", "prompt_words": "prompt_id"}


def _of_runs(only: GenerationFilter) -> ColumnElement[bool]:
    """The condition for samples of some runs and answers of their checkpoints."""
    sampled = Generation.run_id.in_(only.run_ids)
    if only.kinds and GenerationKind.ANSWER not in only.kinds:
        return sampled
    answer = Generation.__table__.alias("answer")
    answered = (
        select(answer.c.id)
        .join(Comparison, answer.c.comparison_id == Comparison.id)
        .join(
            Contender,
            and_(
                Contender.conversation_id == Comparison.conversation_id,
                Contender.position == answer.c.position,
            ),
        )
        .where(Contender.run_id.in_(only.run_ids))
    )
    return or_(sampled, Generation.id.in_(answered))


def _of_origin(only: GenerationFilter, me: int | None) -> list[ColumnElement[bool]]:
    """The conditions of an origin. They name the few comparisons of a person, which an index then finds."""
    found: list[ColumnElement[bool]] = []
    if only.origin is GenerationOrigin.RUN:
        found.append(Generation.comparison_id.is_(None))
    elif only.origin is GenerationOrigin.CHAT:
        own = select(Conversation.id).where(
            Conversation.user_id == (me or 0), Conversation.campaign_id.is_(None)
        )
        asked = select(Comparison.id).where(Comparison.conversation_id.in_(own))
        found.append(Generation.comparison_id.in_(asked))
    elif only.origin is GenerationOrigin.CAMPAIGN:
        seen = select(NamesSeen.comparison_id).where(NamesSeen.user_id == (me or 0))
        asked = select(Comparison.id).where(Comparison.id.in_(seen), Comparison.campaign_id.is_not(None))
        found.append(Generation.comparison_id.in_(asked))
    if only.campaign_id is not None:
        of_this = select(Comparison.id).where(Comparison.campaign_id == only.campaign_id)
        found.append(Generation.comparison_id.in_(of_this))
    return found
