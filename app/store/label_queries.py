"""Lists and counts of votes, with filters; votes whose names are hidden from the viewer stay hidden."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.store import adjudications, labels, names, vote_details
from app.store.enums import Choice, WhyLeftOut
from app.store.models import Comparison, Contender, Label, User
from app.store.vote_details import Vote


@dataclass(frozen=True, slots=True)
class VoteFilter:
    """A filter for votes: by voter, by choice, by a run that took part, by campaign, or blind votes only.

    `adjudicated` leaves out the votes on comparisons with an adjudicated verdict, which takes their place.
    """

    user: str | None = None
    choice: Choice | None = None
    run_id: int | None = None
    campaign_id: int | None = None
    blind: bool = False
    adjudicated: bool = False

    def check(self) -> None:
        """Check that the filter makes sense.

        Raises:
            InvalidInput: when adjudicated verdicts are wanted without a campaign, or by voter, choice or run.
        """
        others = self.user is not None or self.choice is not None or self.run_id is not None
        if self.adjudicated and (self.campaign_id is None or others):
            raise InvalidInput(
                "Adjudicated verdicts are those of a campaign: name it, and no voter, choice or run.",
                field="adjudicated",
            )


def votes(
    *,
    session: Session,
    only: VoteFilter | None = None,
    limit: int = 50,
    offset: int = 0,
    before: int | None = None,
    viewer: str | None = None,
) -> list[Vote]:
    """Votes, newest first.

    Args:
        before: only votes with a smaller id.
        viewer: the person who reads the votes. Votes whose names this person may not see yet are `hidden`,
            and filters by run or choice exclude them.
    """
    query = matching(select(Label), only, viewer).order_by(Label.id.desc()).limit(limit).offset(offset)
    if before is not None:
        query = query.where(Label.id < before)
    return vote_details.of_labels(session.scalars(query).all(), session=session, viewer=viewer)


def details(label_id: int, *, session: Session, viewer: str | None = None) -> Vote:
    """One vote with its context.

    Raises:
        NotFound: when the id does not exist.
    """
    return vote_details.of_labels([labels.get(label_id, session=session)], session=session, viewer=viewer)[0]


def count(*, session: Session, only: VoteFilter | None = None) -> dict[Choice, int]:
    """The number of votes per choice."""
    query = select(Label.choice, func.count()).group_by(Label.choice)
    found: dict[Choice, int] = {choice: number for choice, number in session.execute(matching(query, only))}
    return {choice: found.get(choice, 0) for choice in Choice}


def count_left_out(
    *, session: Session, only: VoteFilter | None = None
) -> dict[tuple[WhyLeftOut | None, bool], int]:
    """Count votes by the reason why they do not become training pairs, and by whether an answer was cut.

    The reason None counts the votes that become training pairs.
    """
    query = select(Label.left_out, Label.cut, func.count()).group_by(Label.left_out, Label.cut)
    return {(reason, cut): number for reason, cut, number in session.execute(matching(query, only))}


def count_hidden(user: str, *, session: Session, campaign_id: int | None = None) -> int:
    """The number of votes, or of a campaign's, on comparisons whose names a person may not see yet."""
    query = select(func.count()).select_from(Label).where(names.hidden_from(user))
    if campaign_id is not None:
        query = query.join(Comparison, Label.comparison_id == Comparison.id)
        query = query.where(Comparison.campaign_id == campaign_id)
    return session.scalar(query) or 0


def hidden_comparisons(user: str, *, session: Session) -> Sequence[int]:
    """Ids of the comparisons with votes whose names a person may not see yet."""
    query = select(Label.comparison_id).where(names.hidden_from(user)).distinct()
    return session.scalars(query).all()


def voters(*, session: Session) -> Sequence[str]:
    """Names of the people who voted, sorted."""
    voted = select(Label.id).where(Label.user_id == User.id).exists()
    return session.scalars(select(User.name).where(voted).order_by(User.name)).all()


def matching(query: Any, only: VoteFilter | None, viewer: str | None = None) -> Any:
    """Apply a filter to a query on labels; filters by run or choice only find votes with visible names."""
    only = only or VoteFilter()
    conditions: list[ColumnElement[bool]] = []
    if only.user is not None:
        conditions.append(Label.user_id.in_(select(User.id).where(User.name == only.user)))
    if only.choice is not None:
        conditions.append(Label.choice == only.choice)
    if only.blind:
        conditions.append(Label.blind.is_(True))
    if only.adjudicated:
        conditions.append(Label.comparison_id.not_in(adjudications.decided()))
    if only.campaign_id is not None:
        of_campaign = select(Comparison.id).where(Comparison.campaign_id == only.campaign_id)
        conditions.append(Label.comparison_id.in_(of_campaign))
    if only.run_id is not None:
        took_part = (
            select(Comparison.id)
            .join(Contender, Contender.conversation_id == Comparison.conversation_id)
            .where(Contender.run_id == only.run_id)
            .cte("took_part")
            .prefix_with("MATERIALIZED", dialect="postgresql")  # else it scans all votes for the newest
        )
        conditions.append(Label.comparison_id.in_(select(took_part.c.id)))
    if viewer is not None and (only.run_id is not None or only.choice is not None):
        conditions.append(names.visible_to(viewer))
    return query.where(*conditions)
