"""Queries on the scores of a dataset's pairs: sorted, filtered, a page at a time, and counted.

The first scoring decides the order. Its index on (scoring, margin, position) gives a page without reading the
other scores, so a page of half a million pairs is as quick as one of a hundred.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from sqlalchemy import ColumnElement, Select, String, and_, cast, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from app.store.enums import Split
from app.store.models import DatasetPair, PairScore, PairScoring

STRONGLY: Final = 1.0
"""With one model, a training pair is probably mislabelled if its margin is below minus this: under a
Bradley-Terry model of the margin, the label then has a probability of less than 27%."""


class Show(StrEnum):
    """Which pairs to show, and in which order; MISLABELLED: all models disagree with the label."""

    ALL = "all"
    WRONG = "wrong"
    SURE = "sure"
    NEAR = "near"
    MISLABELLED = "mislabelled"
    UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which of the scored pairs.

    Attributes:
        scorings: ids of one or two scorings of one dataset; the first decides the order.
        search: words in the prompt or the answers.
    """

    scorings: tuple[int, ...]
    show: Show = Show.ALL
    split: Split | None = None
    search: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a pair in the order: the next page begins after it."""

    margin: float
    position: int


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """A pair with its score under each of the filter's scorings; None where it has none yet."""

    pair: DatasetPair
    scores: tuple[PairScore | None, ...]

    @property
    def place(self) -> Place:
        """The pair's place in the order of the first scoring."""
        first = self.scores[0]
        margin = first.margin if first is not None else None
        return Place(margin or 0.0, self.pair.position)


def page(
    dataset_id: int, wanted: Filter, *, session: Session, limit: int, after: Place | None = None
) -> list[ScoredPair]:
    """A page of pairs in the order of the filter, after a place."""
    if wanted.show is Show.NEAR:
        positions = _nearest(dataset_id, wanted, session, limit, after)
    else:
        query = _ordered(_positions(dataset_id, wanted), wanted.show, after).limit(limit)
        positions = [row.position for row in session.execute(query)]
    return _read(dataset_id, wanted, positions, session)


def of_position(
    dataset_id: int, scorings: Sequence[int], position: int, *, session: Session
) -> ScoredPair | None:
    """One pair with its scores; None if the dataset has no such pair."""
    found = _read(dataset_id, Filter(tuple(scorings)), [position], session)
    return found[0] if found else None


def count(dataset_id: int, wanted: Filter, *, session: Session) -> int:
    """The number of pairs that the filter selects."""
    matching = _positions(dataset_id, wanted).subquery()
    return session.scalar(select(func.count()).select_from(matching)) or 0


def positions(dataset_id: int, wanted: Filter, *, session: Session) -> list[int]:
    """The positions of all pairs that the filter selects, in source order."""
    found = _positions(dataset_id, wanted).order_by(PairScore.position)
    return [row.position for row in session.execute(found)]


def positions_of_rows(dataset_id: int, rows: Sequence[int], *, session: Session) -> dict[int, list[int]]:
    """The positions of the pairs of some source rows, by row."""
    found: dict[int, list[int]] = {row: [] for row in rows}
    for start in range(0, len(rows), _AT_ONCE):
        query = select(DatasetPair.row, DatasetPair.position).where(
            DatasetPair.dataset_id == dataset_id, DatasetPair.row.in_(rows[start : start + _AT_ONCE])
        )
        for row, position in session.execute(query):
            found[row].append(position)
    return found


_AT_ONCE = 500

# --- margins as a whole -------------------------------------------------------------------------


def margin_at(scoring_id: int, share: float, *, session: Session) -> float | None:
    """A quantile of a scoring's margins; None without any."""
    scored = (PairScore.scoring_id == scoring_id, PairScore.margin.is_not(None))
    number = session.scalar(select(func.count()).where(*scored)) or 0
    if not number:
        return None
    place = min(int(share * number), number - 1)
    return session.scalar(
        select(PairScore.margin).where(*scored).order_by(PairScore.margin).offset(place).limit(1)
    )


def histogram(scoring_id: int, edges: Sequence[float], *, session: Session) -> list[int]:
    """The number of margins in each bin. The first and the last bin have no outer bound."""
    counts = []
    for low, high in zip([None, *edges[1:-1]], [*edges[1:-1], None], strict=True):
        bounds = [PairScore.scoring_id == scoring_id, PairScore.margin.is_not(None)]
        bounds += [] if low is None else [PairScore.margin >= low]
        bounds += [] if high is None else [PairScore.margin < high]
        counts.append(session.scalar(select(func.count()).where(*bounds)) or 0)
    return counts


def reward_range(scoring_id: int, *, session: Session) -> tuple[float, float] | None:
    """The lowest and the highest reward of an answer under a reward model; None without any."""
    of_scoring = PairScore.scoring_id == scoring_id
    columns = [of(column) for of in (func.min, func.max) for column in (PairScore.chosen, PairScore.rejected)]
    found = [
        value for value in session.execute(select(*columns).where(of_scoring)).one() if value is not None
    ]
    return (min(found), max(found)) if found else None


def reward_histogram(scoring_id: int, edges: Sequence[float], *, session: Session) -> list[list[int]]:
    """The number of chosen, and of rejected answers whose reward is in each bin; one pass for each."""
    found = []
    for column in (PairScore.chosen, PairScore.rejected):
        bins = [func.count().filter(column >= low, column < high) for low, high in pairwise(edges)]
        found.append(list(session.execute(select(*bins).where(PairScore.scoring_id == scoring_id)).one()))
    return found


# --- the query ----------------------------------------------------------------------------------

_Second = aliased(PairScore)


def _positions(dataset_id: int, wanted: Filter) -> Select[float | None, int]:
    """Margin and position of the matching pairs, unordered. Joins only what the filter reads."""
    first, *others = wanted.scorings
    query = select(PairScore.margin, PairScore.position).where(PairScore.scoring_id == first)
    query = query.where(*_shown(wanted))
    if others and wanted.show is Show.MISLABELLED:
        query = query.join(
            _Second, and_(_Second.scoring_id == others[0], _Second.position == PairScore.position)
        )
    split = _split(wanted)
    if split is not None or wanted.search:
        same = and_(DatasetPair.dataset_id == dataset_id, DatasetPair.position == PairScore.position)
        query = query.join(DatasetPair, same)
    if split is not None:
        query = query.where(DatasetPair.split == split)
    if wanted.search:
        query = query.where(_contains(wanted.search))
    return query


def _split(wanted: Filter) -> Split | None:
    """The side to show. With one model only training pairs count as mislabelled: it was trained on them."""
    if wanted.show is Show.MISLABELLED and len(wanted.scorings) == 1:
        return Split.TRAIN
    return wanted.split


def _shown(wanted: Filter) -> list[ColumnElement[bool]]:
    margin = PairScore.margin
    if wanted.show is Show.MISLABELLED:
        return [margin < -STRONGLY] if len(wanted.scorings) == 1 else [margin < 0, _Second.margin < 0]
    conditions: dict[Show, list[ColumnElement[bool]]] = {
        Show.ALL: [],
        Show.WRONG: [margin < 0],
        Show.SURE: [margin > 0],
        Show.NEAR: [margin.is_not(None)],
        Show.UNSCORED: [margin.is_(None)],
    }
    return conditions[wanted.show]


def _contains(words: str) -> ColumnElement[bool]:
    escaped = json.dumps(words)[1:-1]
    return or_(
        DatasetPair.chosen.icontains(words, autoescape=True),
        DatasetPair.rejected.icontains(words, autoescape=True),
        cast(DatasetPair.prompt, String).icontains(escaped, autoescape=True),
    )


def _ordered(query: Select[float | None, int], show: Show, after: Place | None) -> Select[float | None, int]:
    margin, position = PairScore.margin, PairScore.position
    if show in (Show.ALL, Show.UNSCORED):
        query = query.where(position > after.position) if after else query
        return query.order_by(position)
    falling = show is Show.SURE
    if after is not None:
        here, there = tuple_(margin, position), tuple_(after.margin, after.position)
        query = query.where(here < there if falling else here > there)
    return query.order_by(*((margin.desc(), position.desc()) if falling else (margin, position)))


def _nearest(dataset_id: int, wanted: Filter, session: Session, limit: int, after: Place | None) -> list[int]:
    """Positions by the distance of their margins from zero: one walk up from zero and one down, merged.

    Of two margins at the same distance, the positive one comes first.
    """
    margin, position = PairScore.margin, PairScore.position
    query = _positions(dataset_id, wanted)
    up, down = query.where(margin >= 0), query.where(margin < 0)
    if after is not None and after.margin >= 0:
        up = up.where(tuple_(margin, position) > tuple_(after.margin, after.position))
        down = down.where(margin <= -after.margin)
    elif after is not None:
        up = up.where(margin > -after.margin)
        down = down.where(tuple_(margin, position) < tuple_(after.margin, after.position))
    found = [
        *session.execute(up.order_by(margin, position).limit(limit)),
        *session.execute(down.order_by(margin.desc(), position.desc()).limit(limit)),
    ]
    found.sort(key=lambda row: (abs(row.margin), row.margin < 0))  # stable, so ties keep their order
    return [row.position for row in found[:limit]]


def _read(dataset_id: int, wanted: Filter, found: Sequence[int], session: Session) -> list[ScoredPair]:
    pairs = {
        pair.position: pair
        for pair in session.scalars(
            select(DatasetPair).where(DatasetPair.dataset_id == dataset_id, DatasetPair.position.in_(found))
        )
    }
    scores = {
        (score.scoring_id, score.position): score
        for score in session.scalars(
            select(PairScore)
            .join(PairScoring, PairScoring.id == PairScore.scoring_id)
            .where(
                PairScoring.dataset_id == dataset_id,
                PairScore.scoring_id.in_(wanted.scorings),
                PairScore.position.in_(found),
            )
        )
    }
    return [
        ScoredPair(pairs[at], tuple(scores.get((scoring, at)) for scoring in wanted.scorings))
        for at in found
        if at in pairs
    ]
