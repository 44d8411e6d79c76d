"""The games of all votes: their outcomes by pair of models, as a ranking reads them, and their version."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, String, func, select, type_coerce
from sqlalchemy.orm import Session

from app.store import adjudications
from app.store.models import (
    Adjudication,
    AdjudicationPair,
    Answerer,
    AspectPair,
    Comparison,
    Label,
    LabelPair,
    LabelVersion,
    NamesSeen,
    User,
)
from app.store.vote_rules import RULES
from app.store.vote_totals import pairs_seen_by


class Game(NamedTuple):
    """The outcome of a vote for two answerers.

    `prompt` is the prompt's id; a vote that is not yet counted by the present rules has a negative number of
    its own. `length` is the first answer's length minus the second's in characters, None where unknown.
    """

    prompt: int
    first: int
    second: int
    outcome: str
    length: int | None


@dataclass(frozen=True, slots=True)
class Version:
    """Changes with every change of the votes that a viewer may see.

    A changed or withdrawn vote adds a row to the history. The newest vote's time tells a vote from an earlier
    one with the same id: SQLite uses the id of a withdrawn vote again.
    """

    votes: int
    newest: int
    newest_at: datetime | None
    earlier: int
    waiting: int
    adjudications: tuple[int, datetime | None]
    viewer: str | None
    seen: int


def version(*, session: Session, viewer: str | None = None) -> Version:
    """The present version of the votes. With a viewer, of those whose names this person may see.

    Read it before the games: a vote that arrives in between then changes the next version.
    """
    newest = select(func.max(Label.id)).scalar_subquery()
    seen = (
        select(func.count())
        .select_from(NamesSeen)
        .join(User, NamesSeen.user_id == User.id)
        .where(User.name == viewer)
    )
    row = session.execute(
        select(
            select(func.count()).select_from(Label).scalar_subquery(),
            newest,
            select(Label.updated_at).where(Label.id == newest).scalar_subquery(),
            select(func.max(LabelVersion.id)).scalar_subquery(),
            select(func.count()).select_from(Label).where(Label.counted < RULES).scalar_subquery(),
        )
    ).one()
    votes, last, last_at, earlier, waiting = row
    shown = 0 if viewer is None else session.scalar(seen) or 0
    decided = adjudications.version(session=session)
    return Version(votes, last or 0, last_at, earlier or 0, waiting, decided, viewer, shown)


def games(
    *,
    session: Session,
    viewer: str | None = None,
    campaign_id: int | None = None,
    aspect: str | None = None,
    adjudicated: bool = False,
) -> Sequence[Game]:
    """The games of all votes, or of a campaign's, ordered by model.

    Args:
        viewer: the person who reads them; only votes whose names this person may see are read.
        aspect: read what the votes say of this aspect, instead of which answer is better.
        adjudicated: where a comparison has an adjudicated verdict, read that instead of its votes. Verdicts
            say nothing of aspects.
    """
    pairs: type[LabelPair | AspectPair] = LabelPair if aspect is None else AspectPair
    outcome = type_coerce(pairs.outcome, String)  # as text, which is read faster
    prompt = func.coalesce(pairs.prompt_id, -pairs.label_id)
    query = (
        select(prompt, pairs.first_id, pairs.second_id, outcome, pairs.length_difference)
        .where(*pairs_seen_by(viewer, table=pairs), *_of_campaign(pairs, campaign_id))
        .order_by(pairs.first_id, pairs.second_id, outcome, pairs.open, pairs.label_id)
    )
    if aspect is not None:
        query = query.where(AspectPair.aspect == aspect)
    if not adjudicated or aspect is not None:
        return [Game(*row) for row in session.execute(query)]
    decided = select(Label.id).where(Label.comparison_id.in_(adjudications.decided()))
    by_votes = session.execute(query.where(pairs.label_id.not_in(decided)))
    return [*(Game(*row) for row in by_votes), *_of_adjudications(viewer, campaign_id, session)]


def _of_adjudications(viewer: str | None, campaign_id: int | None, session: Session) -> list[Game]:
    """The games of the adjudicated verdicts whose names a person may see."""
    pairs = AdjudicationPair
    query = (
        select(
            func.coalesce(pairs.prompt_id, -pairs.adjudication_id),
            pairs.first_id,
            pairs.second_id,
            type_coerce(pairs.outcome, String),
            pairs.length_difference,
        )
        .join(Adjudication, pairs.adjudication_id == Adjudication.id)
        .join(Comparison, Adjudication.comparison_id == Comparison.id)
        .where(adjudications.current())
        .order_by(pairs.first_id, pairs.second_id, pairs.outcome, pairs.adjudication_id)
    )
    if campaign_id is not None:
        query = query.where(Comparison.campaign_id == campaign_id)
    if viewer is not None:
        seen = select(NamesSeen.comparison_id).join(User, NamesSeen.user_id == User.id)
        query = query.where(Comparison.id.in_(seen.where(User.name == viewer)))
    return [Game(*row) for row in session.execute(query)]


def _of_campaign(pairs: type[LabelPair | AspectPair], campaign_id: int | None) -> list[ColumnElement[bool]]:
    if campaign_id is None:
        return []
    cast = (
        select(Label.id)
        .join(Comparison, Label.comparison_id == Comparison.id)
        .where(Comparison.campaign_id == campaign_id)
    )
    return [pairs.label_id.in_(cast)]


def answerers(ids: Collection[int], *, session: Session) -> list[Answerer]:
    """Answerers by id, in the order of their ids."""
    query = select(Answerer).where(Answerer.id.in_(sorted(ids))).order_by(Answerer.id)
    return list(session.scalars(query))
