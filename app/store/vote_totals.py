"""Totals over votes: by side, length and blindness, agreement of voters, and outcomes by pair of models."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.store import names
from app.store.enums import Outcome
from app.store.models import Answerer, AspectPair, Label, LabelPair


@dataclass(frozen=True, slots=True)
class PairCount:
    """The number of votes per outcome for two answerers."""

    first: Answerer
    second: Answerer
    outcomes: dict[Outcome, int]


@dataclass(slots=True)
class Totals:
    """Vote totals. `first_side` is out of `two_sided` votes, and `longer` is out of `longer_of`."""

    votes: int = 0
    blind: int = 0
    first_side: int = 0
    two_sided: int = 0
    longer: int = 0
    longer_of: int = 0


def totals(*, session: Session, viewer: str | None = None) -> Totals:
    """Totals over all votes. With a viewer, only over votes whose names this person may see."""
    columns = (Label.blind, Label.first_side, Label.longer)
    found = Totals()
    query = select(*columns, func.count()).where(*_seen_by(viewer)).group_by(*columns)
    for blind, first_side, longer, number in session.execute(query):
        found.votes += number
        found.blind += number if blind else 0
        found.first_side += number if first_side else 0
        found.two_sided += number if first_side is not None else 0
        found.longer += number if longer else 0
        found.longer_of += number if longer is not None else 0
    return found


def _seen_by(viewer: str | None) -> list[ColumnElement[bool]]:
    return [] if viewer is None else [names.visible_to(viewer)]


def agreement(*, session: Session, viewer: str | None = None) -> tuple[int, int]:
    """Pairs of votes on the same comparison: how many agree, and how many there are."""
    contested = (
        select(Label.comparison_id)
        .where(*_seen_by(viewer))
        .group_by(Label.comparison_id)
        .having(func.count() > 1)
    )
    opinion = (
        select(Label.comparison_id, func.count().label("same"))
        .where(Label.comparison_id.in_(contested), *_seen_by(viewer))
        .group_by(Label.comparison_id, Label.choice, Label.best_id, Label.worst_id)
        .subquery()
    )
    several = (
        select(
            func.sum(opinion.c.same * (opinion.c.same - 1) / 2).label("agreed"),
            func.sum(opinion.c.same).label("all"),
        )
        .group_by(opinion.c.comparison_id)
        .subquery()
    )
    all_votes = several.c["all"]
    query = select(func.sum(several.c.agreed), func.sum(all_votes * (all_votes - 1) / 2))
    agreed, pairs = session.execute(query).one()
    return int(agreed or 0), int(pairs or 0)


def pairs(
    *, session: Session, limit: int = 50, offset: int = 0, viewer: str | None = None
) -> tuple[list[PairCount], int]:
    """Outcomes per pair of answerers, most votes first, and the total number of such pairs."""
    shown = pairs_seen_by(viewer)
    votes = func.count()
    met = (
        select(
            LabelPair.first_id, LabelPair.second_id, votes.label("votes"), func.count().over().label("met")
        )
        .where(*shown)
        .group_by(LabelPair.first_id, LabelPair.second_id)
    )
    most = met.order_by(votes.desc(), LabelPair.first_id, LabelPair.second_id)
    page = most.limit(limit).offset(offset).subquery()
    rows = session.execute(
        select(page.c.first_id, page.c.second_id, page.c.met, LabelPair.outcome, func.count())
        .join(LabelPair, (LabelPair.first_id == page.c.first_id) & (LabelPair.second_id == page.c.second_id))
        .where(*shown)
        .group_by(page.c.first_id, page.c.second_id, page.c.met, page.c.votes, LabelPair.outcome)
        .order_by(page.c.votes.desc(), page.c.first_id, page.c.second_id)
    ).all()
    if not rows:
        number = session.scalar(select(func.count()).select_from(met.subquery())) if offset else 0
        return [], number or 0
    ids = {answerer for row in rows for answerer in row[:2]}
    known = {found.id: found for found in session.scalars(select(Answerer).where(Answerer.id.in_(ids)))}
    found: dict[tuple[int, int], PairCount] = {}
    for first, second, _, outcome, number in rows:
        pair = found.setdefault((first, second), PairCount(known[first], known[second], {}))
        pair.outcomes[outcome] = number
    return list(found.values()), rows[0].met


def pairs_seen_by(
    viewer: str | None, *, table: type[LabelPair | AspectPair] = LabelPair
) -> list[ColumnElement[bool]]:
    """The conditions for pairs of answers whose names a person may see."""
    if viewer is None:
        return []
    seen = select(Label.id).where(names.seen_by(viewer))
    return [or_(table.open, table.label_id.in_(seen))]
