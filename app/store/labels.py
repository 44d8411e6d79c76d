"""Labels: votes on comparisons, one per comparison and person.

A vote is blind if the names were hidden from its voter (`app.store.names`). Voting reveals them, so a changed
choice is not blind. Earlier versions of changed and withdrawn votes are kept (`label_history`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from app.errors import NotFound, Refused
from app.store import clock, judging, label_history, names, tallies, users, votable, vote_details
from app.store.enums import Choice, GenerationStatus, WhyLeftOut
from app.store.models import Comparison, Contender, Generation, Label, NamesSeen, Prompt, User
from app.store.vote_details import Vote


@dataclass(frozen=True, slots=True)
class VoteFilter:
    """A filter for votes: by voter, by choice, or by a run that took part in the conversation."""

    user: str | None = None
    choice: Choice | None = None
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The parts of a training pair: a vote's best and worst answer, if any, and their prompt."""

    label_id: int
    choice: Choice
    best: tallies.Answer | None
    worst: tallies.Answer | None
    prompt: Any


def has_votes(comparison_id: int, *, session: Session) -> bool:
    """Whether a comparison has any votes."""
    return session.scalar(select(Label.id).where(Label.comparison_id == comparison_id).limit(1)) is not None


def vote(
    comparison_id: int,
    *,
    session: Session,
    user: str,
    choice: Choice,
    best: int | None = None,
    worst: int | None = None,
    reason: str = "",
    seconds: float | None = None,
) -> Label:
    """Store a person's vote on a comparison. A vote that it replaces is kept in the history.

    Args:
        best: side of the best answer, 0 for A; for BEST only. Of two answers, the other one is the worst.
        worst: side of the worst answer; required for BEST among more than two.
        seconds: the person's decision time; a changed vote keeps that of the first.

    Raises:
        InvalidInput: for sides that do not match the choice.
        NotFound: for a comparison that does not exist.
        Refused: when the answers cannot be judged (see `judging.why_not_votable`).
    """
    comparison = votable.lock(comparison_id, session=session)
    answers = votable.answers(comparison, session=session)
    problem = judging.why_not_votable(answers)
    if problem:
        raise Refused(problem)
    best, worst = judging.checked_sides(choice, best, worst, len(answers))
    values: dict[str, Any] = {
        "choice": choice,
        "best_id": None if best is None else answers[best].id,
        "worst_id": None if worst is None else answers[worst].id,
        "shown": [answer.id for answer in answers],
        "reason": judging.checked_reason(reason),
        "updated_at": clock.now(),
    }
    user_id, present, seen = _standing(comparison_id, user, session=session)
    if present is None:
        values["blind"] = comparison.conversation.blind and not seen
        values["seconds"] = seconds
    elif _says(present, values):
        return present
    else:
        values["blind"] = present.blind and _chooses(present, values)
        values["seconds"] = seconds if present.seconds is None else present.seconds
        label_history.keep(present, session=session)
    label = _store(comparison, user_id, values, answers, session=session, first=present is None)
    if not seen:
        names.record([comparison_id], user, session=session, user_id=user_id)
    return label


_STANDING = (
    select(User.id, Label, NamesSeen.user_id)
    .outerjoin(Label, and_(Label.user_id == User.id, Label.comparison_id == bindparam("comparison")))
    .outerjoin(
        NamesSeen, and_(NamesSeen.user_id == User.id, NamesSeen.comparison_id == bindparam("comparison"))
    )
    .where(User.name == bindparam("user"))
)


def _standing(comparison_id: int, user: str, *, session: Session) -> tuple[int, Label | None, bool]:
    """A person's id, their current vote on a comparison, and whether they have seen its names."""
    found = session.execute(_STANDING, {"comparison": comparison_id, "user": user}).one_or_none()
    if found is None:
        return users.ensure(user, session=session).id, None, False
    user_id, present, seen = found
    return user_id, present, seen is not None


def _store(
    comparison: Comparison,
    user_id: int,
    values: dict[str, Any],
    answers: Sequence[Generation],
    *,
    session: Session,
    first: bool,
) -> Label:
    """Write a vote with its derived facts."""
    says = (values["choice"], values["best_id"], values["worst_id"], values["shown"])
    cast = tallies.Cast(*says, comparison.conversation_id, open=not comparison.conversation.blind)
    counting = {answer.id: tallies.Answer.of(answer) for answer in answers}
    values = {**values, **tallies.facts_of(cast, counting)}
    fresh = {"comparison_id": comparison.id, "user_id": user_id, "created_at": values["updated_at"], **values}
    upsert = _upsert(session, fresh, values)
    label: Label = session.scalars(upsert, execution_options={"populate_existing": True}).one()
    tallies.keep_pairs({label.id: cast}, counting, session=session, first=first)
    return label


def _chooses(label: Label, values: dict[str, Any]) -> bool:
    """Whether a vote already has this choice."""
    return all(getattr(label, name) == values[name] for name in ("choice", "best_id", "worst_id"))


def _says(label: Label, values: dict[str, Any]) -> bool:
    """Whether a vote already has this choice and this reason."""
    return _chooses(label, values) and label.reason == values["reason"]


def _upsert(session: Session, values: dict[str, Any], changed: dict[str, Any]) -> Any:
    """An upsert, so that racing requests leave one vote per person and comparison."""
    kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insert = kind.insert(Label).values(**values)
    return insert.on_conflict_do_update(
        index_elements=[Label.comparison_id, Label.user_id], set_=changed
    ).returning(Label)


def explain(label_id: int, reason: str, *, session: Session, user: str) -> Label:
    """Change only the reason of a vote. The previous version is kept in the history.

    Raises:
        InvalidInput: for a reason that is too long.
        NotFound: when the vote does not exist.
        Refused: when the vote belongs to another person.
    """
    label = _own(label_id, user, session=session)
    reason = judging.checked_reason(reason)
    if label.reason != reason:
        label_history.keep(label, session=session)
        label.reason, label.updated_at = reason, clock.now()
        session.flush()
        session.refresh(label)
    return label


def withdraw(label_id: int, *, session: Session, user: str | None = None) -> None:
    """Withdraw a vote. The history keeps it, and the voter may vote again, no longer blind.

    Args:
        user: the required owner of the vote, if given.

    Raises:
        NotFound: when the vote does not exist.
        Refused: when the vote belongs to another person.
    """
    label = get(label_id, session=session) if user is None else _own(label_id, user, session=session)
    label_history.keep(label, session=session, withdrawn=True)
    session.execute(delete(Label).where(Label.id == label_id))
    session.expire_all()


def _own(label_id: int, user: str, *, session: Session) -> Label:
    label = get(label_id, session=session)
    owner = session.get(User, label.user_id)
    if owner is not None and owner.name != user:
        raise Refused(f"This vote is {owner.name}'s; you can change and withdraw only your own votes.")
    return label


def get(label_id: int, *, session: Session) -> Label:
    """One vote.

    Raises:
        NotFound: when the id does not exist.
    """
    label = session.get(Label, label_id)
    if label is None:
        raise NotFound(f"There is no vote {label_id}; it may have been withdrawn.")
    return label


def of_user(comparison_id: int, user: str, *, session: Session) -> Label | None:
    """A person's vote on a comparison."""
    return session.scalar(
        select(Label)
        .join(User, Label.user_id == User.id)
        .where(Label.comparison_id == comparison_id, User.name == user)
    )


# --- lists ---------------------------------------------------------------------------------------


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
    query = _matching(select(Label), only, viewer).order_by(Label.id.desc()).limit(limit).offset(offset)
    if before is not None:
        query = query.where(Label.id < before)
    return vote_details.of_labels(session.scalars(query).all(), session=session, viewer=viewer)


def details(label_id: int, *, session: Session, viewer: str | None = None) -> Vote:
    """One vote with its context.

    Raises:
        NotFound: when the id does not exist.
    """
    return vote_details.of_labels([get(label_id, session=session)], session=session, viewer=viewer)[0]


def after(
    last: int,
    *,
    session: Session,
    only: VoteFilter | None = None,
    viewer: str | None = None,
    limit: int = 200,
) -> list[Vote]:
    """Complete votes with ids above `last`, oldest first: one batch of an export."""
    query = _matching(select(Label), only, viewer).where(Label.id > last).order_by(Label.id).limit(limit)
    return vote_details.of_labels(session.scalars(query).all(), session=session, viewer=viewer, whole=True)


def verdicts_after(
    last: int, *, session: Session, only: VoteFilter | None = None, limit: int = 1000
) -> list[Verdict]:
    """Verdicts of the votes with ids above `last`, oldest first: one batch of training pairs."""
    best, worst = aliased(Generation), aliased(Generation)
    query = (
        select(Label.id, Label.choice, *_counting(best), *_counting(worst), Prompt.content)
        .outerjoin(best, Label.best_id == best.id)
        .outerjoin(worst, Label.worst_id == worst.id)
        .outerjoin(Prompt, best.prompt_id == Prompt.id)
    )
    query = _matching(query, only).where(Label.id > last).order_by(Label.id).limit(limit)
    return [
        Verdict(label_id, choice, _answer(rest[:6]), _answer(rest[6:12]), rest[12])
        for label_id, choice, *rest in session.execute(query)
    ]


def _counting(answer: Any) -> tuple[Any, ...]:
    return answer.id, answer.position, answer.prompt_id, answer.text, answer.complete, answer.status


def _answer(columns: Sequence[Any]) -> tallies.Answer | None:
    if columns[0] is None:
        return None
    answer_id, position, prompt_id, text, complete, status = columns
    ended = status is GenerationStatus.FINISHED
    return tallies.Answer(answer_id, position or 0, prompt_id, text, complete, ended)


def count(*, session: Session, only: VoteFilter | None = None) -> dict[Choice, int]:
    """The number of votes per choice."""
    query = select(Label.choice, func.count()).group_by(Label.choice)
    found: dict[Choice, int] = {choice: number for choice, number in session.execute(_matching(query, only))}
    return {choice: found.get(choice, 0) for choice in Choice}


def count_left_out(
    *, session: Session, only: VoteFilter | None = None
) -> dict[tuple[WhyLeftOut | None, bool], int]:
    """Count votes by the reason why they do not become training pairs, and by whether an answer was cut.

    The reason None counts the votes that become training pairs.
    """
    query = select(Label.left_out, Label.cut, func.count()).group_by(Label.left_out, Label.cut)
    return {(reason, cut): number for reason, cut, number in session.execute(_matching(query, only))}


def count_hidden(user: str, *, session: Session) -> int:
    """The number of votes on comparisons whose names a person may not see yet."""
    return session.scalar(select(func.count()).select_from(Label).where(names.hidden_from(user))) or 0


def hidden_comparisons(user: str, *, session: Session) -> Sequence[int]:
    """Ids of the comparisons with votes whose names a person may not see yet."""
    query = select(Label.comparison_id).where(names.hidden_from(user)).distinct()
    return session.scalars(query).all()


def voters(*, session: Session) -> Sequence[str]:
    """Names of the people who voted, sorted."""
    voted = select(Label.id).where(Label.user_id == User.id).exists()
    return session.scalars(select(User.name).where(voted).order_by(User.name)).all()


def _matching(query: Any, only: VoteFilter | None, viewer: str | None = None) -> Any:
    only = only or VoteFilter()
    conditions: list[ColumnElement[bool]] = []
    if only.user is not None:
        conditions.append(Label.user_id.in_(select(User.id).where(User.name == only.user)))
    if only.choice is not None:
        conditions.append(Label.choice == only.choice)
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
