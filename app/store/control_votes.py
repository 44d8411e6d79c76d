"""Verdicts on controls: stored beside the labels, and never counted as votes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from app.errors import Refused
from app.store import clock, judging, votable
from app.store.aspects import Said, checked
from app.store.enums import Choice, SlotKind
from app.store.models import Comparison, ControlVote, Generation, Label, Slot, Task, User


def shown(slot: Slot, *, session: Session) -> list[Generation]:
    """The answers that a slot shows, in display order."""
    if slot.answer_ids is None:
        comparison = session.get_one(Comparison, slot.comparison_id)
        return votable.answers(comparison, session=session, order=slot.shown_order)
    query = select(Generation).where(Generation.id.in_(slot.answer_ids))
    found = {answer.id: answer for answer in session.scalars(query)}
    return [found[answer_id] for answer_id in slot.answer_ids]


def cast(
    slot: Slot,
    *,
    session: Session,
    choice: Choice,
    best: int | None = None,
    worst: int | None = None,
    reason: str = "",
    seconds: float | None = None,
    aspects: Mapping[str, Said] | None = None,
    asked: Sequence[str] = (),
) -> ControlVote:
    """Store a person's verdict on a control; one that it replaces is kept.

    Args: as `labels.vote`.

    Raises:
        InvalidInput: as `labels.vote`.
        Refused: as `labels.vote`.
    """
    answers = shown(slot, session=session)
    problem = judging.why_not_votable(answers)
    if problem:
        raise Refused(problem)
    answer_ids = [answer.id for answer in answers]
    vote = ControlVote(
        **judging.verdict(choice, best, worst, answer_ids),
        slot_id=slot.id,
        aspects=checked(aspects or {}, asked, answer_ids),
        reason=judging.checked_reason(reason),
        seconds=seconds,
    )
    present = session.scalar(_current(slot.id))
    if present is not None:
        if all(getattr(present, name) == getattr(vote, name) for name in _SAID):
            return present
        vote.seconds = seconds if present.seconds is None else present.seconds
        withdraw(slot.id, session=session)
    session.add(vote)
    session.flush()
    return vote


_SAID = ("choice", "best_id", "worst_id", "aspects", "reason")


def withdraw(slot_id: int, *, session: Session) -> None:
    """Withdraw the verdict on a control; it is kept."""
    present = session.scalar(_current(slot_id))
    if present is not None:
        present.withdrawn_at = clock.now()
        session.flush()


def _current(slot_id: int) -> Select[ControlVote]:
    return select(ControlVote).where(ControlVote.slot_id == slot_id, ControlVote.withdrawn_at.is_(None))


class Result(NamedTuple):
    """A person's verdict on a control: whether a check was passed, or a repeat judged as before."""

    person: str
    kind: SlotKind
    number: int
    question: str
    right: bool
    seconds: float | None


def results(campaign_id: int, *, session: Session) -> Sequence[Result]:
    """The verdicts on a campaign's controls, in the order in which they were taken.

    A repeat whose first vote was withdrawn is left out.
    """
    source = func.coalesce(Comparison.source_id, Comparison.id)
    query = (
        select(Slot.kind, ControlVote, User.name, Task.number, Comparison.question, source, Label)
        .join(ControlVote, and_(ControlVote.slot_id == Slot.id, ControlVote.withdrawn_at.is_(None)))
        .join(User, Slot.user_id == User.id)
        .join(Task, Slot.comparison_id == Task.comparison_id)
        .join(Comparison, Comparison.id == Slot.comparison_id)
        .outerjoin(Label, and_(Label.comparison_id == Slot.comparison_id, Label.user_id == Slot.user_id))
        .where(Task.campaign_id == campaign_id)
        .order_by(Slot.id)
    )
    rows: Sequence[Any] = session.execute(query).all()
    sources = _sources([vote.best_id for _, vote, *_ in rows if vote.best_id is not None], session=session)
    found = []
    for kind, vote, person, number, question, answered_by, label in rows:
        if kind is SlotKind.CHECK:
            right = vote.best_id is not None and sources.get(vote.best_id) == answered_by
        elif label is None:
            continue
        else:
            right = _verdict(vote) == _verdict(label)
        found.append(Result(person, kind, number, question, right, vote.seconds))
    return found


def _verdict(vote: ControlVote | Label) -> tuple[Choice, int | None, int | None]:
    return vote.choice, vote.best_id, vote.worst_id


def _sources(answer_ids: Sequence[int], *, session: Session) -> dict[int, int | None]:
    """The comparisons to whose question the answers were written."""
    query = select(Generation.id, Generation.comparison_id).where(Generation.id.in_(answer_ids))
    return {key: source for key, source in session.execute(query)}
