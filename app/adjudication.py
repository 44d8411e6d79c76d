"""Adjudication: the comparisons of a campaign on which voters differ, and the verdicts on them.

Whoever decides sees the answers and the votes with their reasons, and no names of voters or models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.answers import parse_vote
from app.errors import NotFound, Refused
from app.quality import Disagreement, disagreements_of
from app.store import (
    adjudications,
    campaigns,
    comparisons,
    control_plan,
    names,
    slot_conditions,
    users,
    votable,
)
from app.store.adjudication_models import Adjudication
from app.store.db import read_session, write_session
from app.store.enums import CampaignStatus, Choice, SlotKind, SlotStatus
from app.store.judging import LETTERS
from app.store.models import Campaign, Comparison, Label, Slot, Task


@dataclass(frozen=True, slots=True)
class Listed:
    """A disagreement of the queue. `author` is who decided it; empty if nobody has."""

    number: int
    question: str
    votes: int
    author: str


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict in words: the letter of the best answer, `tie`, or `both bad`; of the worst among several."""

    choice: str
    worst: str
    reason: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A disagreement to decide: the answers in the reader's order, and the votes in that order too.

    `votes` are in no order that tells who gave them. `verdict` is the one that counts, with its `author`.
    """

    number: int
    opening: list[dict[str, str]]
    question: str
    answers: list[str]
    votes: list[Said]
    verdict: Said | None
    author: str


def may_adjudicate(campaign: Campaign, owner: str, user: str) -> bool:
    """Whether a person may decide a campaign's disagreements: its owner, and whom the owner lets."""
    return campaigns.may_change(owner, user) or user in campaign.adjudicators


def queue(campaign_id: int, *, user: str = users.LOCAL) -> list[Listed]:
    """The disagreements of a campaign that a person may decide; those that nobody has decided come first.

    A comparison on which the person may still vote comes only after the vote.

    Raises:
        NotFound: for a campaign that does not exist.
        Refused: when this person may not decide.
    """
    with read_session() as session:
        campaign = _checked(campaign_id, user, session=session)
        found = _open_to(campaign, user, session=session)
        authors = adjudications.authors(campaign_id, session=session)
        query = select(Comparison.id, Comparison.question).where(Comparison.id.in_(found))
        listed = [
            Listed(
                found[comparison_id].number,
                question,
                len({person for person, _ in found[comparison_id].votes}),
                authors.get(comparison_id, ""),
            )
            for comparison_id, question in session.execute(query)
        ]
    return sorted(listed, key=lambda one: (bool(one.author), one.number))


def case(campaign_id: int, number: int, *, user: str = users.LOCAL) -> Case:
    """A disagreement with its votes.

    Args:
        number: the comparison's place in the campaign.

    Raises:
        NotFound: for a comparison that does not exist.
        Refused: when this person may not decide it, has seen the names, or may still vote on it; and when
            people do not differ on it.
    """
    with read_session() as session:
        campaign = _checked(campaign_id, user, session=session)
        comparison_id = _comparison(campaign, number, user, session=session)
        comparison = comparisons.get(comparison_id, session=session)
        answers = votable.answers(comparison, session=session, order=_order(campaign, comparison, user))
        shown = [answer.id for answer in answers]
        labels = session.scalars(select(Label).where(Label.comparison_id == comparison_id)).all()
        seed = campaign.control_seed
        present = adjudications.of_comparisons([comparison_id], session=session).get(comparison_id)
        return Case(
            number,
            list(comparison.conversation.opening or []),
            comparison.question,
            [answer.text for answer in answers],
            [
                _said(label, shown, label.seconds)
                for label in sorted(labels, key=lambda one: control_plan.uniform(seed, "case", one.id))
            ],
            None if present is None else _said(present, shown),
            "" if present is None else adjudications.author_of(present, session=session),
        )


def decide(
    campaign_id: int,
    number: int,
    choice: str,
    *,
    user: str = users.LOCAL,
    worst: str = "",
    reason: str = "",
) -> None:
    """Give the verdict on a disagreement, in words as `answers.vote`, in the order of `case`.

    Raises:
        InvalidInput: for a word or a side that does not match.
        NotFound: as `case`.
        Refused: as `case`, and when somebody else has decided it.
    """
    said = parse_vote(choice, worst)
    with write_session() as session:
        campaign = campaigns.lock(campaign_id, session=session)
        _check_may_adjudicate(campaign, user, session=session)
        comparison_id = _comparison(campaign, number, user, session=session)
        comparison = comparisons.get(comparison_id, session=session)
        adjudications.decide(
            comparison_id,
            session=session,
            user=user,
            order=_order(campaign, comparison, user),
            choice=said.choice,
            best=said.best,
            worst=said.worst,
            reason=reason,
        )


def undo(campaign_id: int, number: int, *, user: str = users.LOCAL) -> None:
    """Take back one's verdict; the campaign's owner may take back everybody's. The history keeps it.

    Raises:
        NotFound: when there is no such comparison, or no verdict on it.
        Refused: when it is another person's.
    """
    with write_session() as session:
        campaign = campaigns.lock(campaign_id, session=session)
        _check_may_adjudicate(campaign, user, session=session)
        comparison_id = _numbered(campaign, number, session=session)
        present = adjudications.of_comparisons([comparison_id], session=session).get(comparison_id)
        owner = campaigns.owner_of(campaign, session=session)
        if present is not None and not campaigns.may_change(owner, user):
            author = adjudications.author_of(present, session=session)
            if author != user:
                raise Refused(f"This verdict is {author}'s; {owner}, whose campaign it is, can take it back.")
        adjudications.withdraw(comparison_id, session=session)


# --- who may decide what ---------------------------------------------------------------------


def _checked(campaign_id: int, user: str, *, session: Session) -> Campaign:
    campaign = campaigns.get(campaign_id, session=session)
    _check_may_adjudicate(campaign, user, session=session)
    return campaign


def _check_may_adjudicate(campaign: Campaign, user: str, *, session: Session) -> None:
    owner = campaigns.owner_of(campaign, session=session)
    if not may_adjudicate(campaign, owner, user):
        raise Refused(
            f"This campaign is {owner}'s, who decides on whom to let adjudicate; ask for your name."
        )


def _open_to(campaign: Campaign, user: str, *, session: Session) -> dict[int, Disagreement]:
    """The disagreements that a person may decide, by comparison."""
    withheld = _still_to_vote(campaign, user, session=session)
    found = disagreements_of(campaign.id, session=session)
    ids = _ids(campaign.id, [gap.number for gap in found], session=session)
    return {ids[gap.number]: gap for gap in found if ids[gap.number] not in withheld}


def _still_to_vote(campaign: Campaign, user: str, *, session: Session) -> set[int]:
    """The comparisons on which a person may still vote; the votes of others must not be seen before.

    A skipped one is among them as long as the skip can be undone.
    """
    if campaign.status is CampaignStatus.CLOSED or (campaign.voters and user not in campaign.voters):
        return set()
    user_id = users.find(user, session=session)
    if user_id is None:
        return set()
    free = {task.comparison_id for task in slot_conditions.candidates(campaign, user_id, session=session)}
    skipped = (Slot.status == SlotStatus.SKIPPED) & (slot_conditions.taken() < campaign.votes_wanted)
    decided = exists().where(
        Adjudication.comparison_id == Slot.comparison_id, Adjudication.user_id == user_id
    )
    held = (
        select(Slot.comparison_id)
        .join(Task, Slot.comparison_id == Task.comparison_id)
        .where(
            Task.campaign_id == campaign.id,
            Slot.user_id == user_id,
            Slot.kind == SlotKind.TASK,
            (Slot.status == SlotStatus.OPEN) | skipped,
            ~decided,
        )
    )
    return free | set(session.scalars(held))


def _comparison(campaign: Campaign, number: int, user: str, *, session: Session) -> int:
    """The comparison of a disagreement that a person may decide."""
    comparison_id = _numbered(campaign, number, session=session)
    if names.seen_among([comparison_id], user, session=session):
        raise Refused("You have seen which model wrote which answer, so a verdict would not be blind.")
    if comparison_id in _still_to_vote(campaign, user, session=session):
        raise Refused(
            f"You may still vote on comparison {number}; do that first, on the Label page. One that you "
            "skipped can be decided once others have given its votes."
        )
    if number not in [gap.number for gap in disagreements_of(campaign.id, session=session)]:
        raise Refused(f"People do not differ on comparison {number}; only disagreements are decided.")
    return comparison_id


def _numbered(campaign: Campaign, number: int, *, session: Session) -> int:
    found = _ids(campaign.id, [number], session=session)
    if number not in found:
        raise NotFound(f"Campaign {campaign.id} has no comparison {number}.")
    return found[number]


def _ids(campaign_id: int, numbers: Sequence[int], *, session: Session) -> dict[int, int]:
    query = select(Task.number, Task.comparison_id).where(
        Task.campaign_id == campaign_id, Task.number.in_(numbers)
    )
    return {number: comparison_id for number, comparison_id in session.execute(query)}


# --- what is shown ---------------------------------------------------------------------------


def _order(campaign: Campaign, comparison: Comparison, user: str) -> list[int]:
    """A person's order of the sides: the same at every look, and different from what voters saw."""
    key = (campaign.control_seed, "adjudication", user, comparison.id)
    return sorted(comparison.shown_order, key=lambda position: control_plan.uniform(*key, position))


def _said(found: Label | Adjudication, shown: Sequence[int], seconds: float | None = None) -> Said:
    letters: Mapping[int | None, str] = dict(zip(shown, LETTERS, strict=False))
    words = {Choice.TIE: "tie", Choice.ALL_BAD: "both bad"}
    choice = words.get(found.choice) or letters.get(found.best_id, "")
    worst = letters.get(found.worst_id, "") if len(shown) > 2 else ""
    return Said(choice, worst, found.reason, seconds)
