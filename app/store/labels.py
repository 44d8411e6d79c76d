"""Labels: votes on comparisons, one per comparison and person.

A vote counts as blind when the names were hidden from its voter (`app.store.names`). The own vote shows them,
so that a change of mind is not blind. A changed or withdrawn vote is kept as it was (`label_history`).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.errors import NotFound, Refused
from app.store import clock, judging, label_history, names, tallies, users, votable
from app.store.enums import Choice, WhyLeftOut
from app.store.models import (
    Checkpoint,
    Comparison,
    Contender,
    Generation,
    Label,
    LabelVersion,
    User,
)

LETTERS = judging.LETTERS
_BATCH = 200


@dataclass(frozen=True, slots=True)
class VoteFilter:
    """Which votes: those of a person, of a choice, of conversations in which a run took part."""

    user: str | None = None
    choice: Choice | None = None
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One answer of a comparison that was voted on, with who wrote it."""

    place: int
    contender: Contender
    step: int | None
    answer: Generation

    @property
    def letter(self) -> str:
        return LETTERS[self.place]


@dataclass(frozen=True, slots=True)
class Vote:
    """A label with all it is about; `sides` stand in the order shown.

    `hidden` says that who asks may not see the names yet. `continues_from` is the side, at the question
    before, whose answer all continued.
    """

    label: Label
    user: str
    comparison: Comparison
    sides: list[Side]
    hidden: bool = False
    continues_from: int | None = None
    earlier: tuple[LabelVersion, ...] = ()

    @property
    def best(self) -> Side | None:
        return next((side for side in self.sides if side.answer.id == self.label.best_id), None)

    @property
    def worst(self) -> Side | None:
        return next((side for side in self.sides if side.answer.id == self.label.worst_id), None)


def has_votes(comparison_id: int, *, session: Session) -> bool:
    """Whether anybody voted on a comparison."""
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
    """Store a person's vote on a comparison, in place of an earlier one, which is kept in the history.

    Args:
        best: side of the best answer, 0 for A, for BEST only; of two answers the other one is the worst.
        worst: side of the worst answer; needed for BEST among more than two.
        seconds: how long the person took to decide; the first vote's counts.

    Raises:
        InvalidInput: for sides that do not fit the choice.
        NotFound: for a comparison that does not exist.
        Refused: when there is only one answer, or one that `judging.why_not_votable` names.
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
    present = of_user(comparison_id, user, session=session)
    if present is None:
        values["blind"] = names.hidden(comparison, user, session=session)
        values["seconds"] = seconds
    elif _says(present, values):
        return present
    else:
        values["blind"] = present.blind and _chooses(present, values)
        values["seconds"] = seconds if present.seconds is None else present.seconds
        label_history.keep(present, session=session)
    user_id = users.ensure(user, session=session).id
    fresh = {"comparison_id": comparison_id, "user_id": user_id, "created_at": values["updated_at"], **values}
    label_id = session.scalars(_upsert(session, fresh, values)).one()
    tallies.count([label_id], session=session)
    names.record([comparison_id], user, session=session, user_id=user_id)
    session.expire_all()
    return get(label_id, session=session)


def _chooses(label: Label, values: dict[str, Any]) -> bool:
    """Whether a vote makes a choice already."""
    return all(getattr(label, name) == values[name] for name in ("choice", "best_id", "worst_id"))


def _says(label: Label, values: dict[str, Any]) -> bool:
    """Whether a vote makes a choice already, for the same reason."""
    return _chooses(label, values) and label.reason == values["reason"]


def _upsert(session: Session, values: dict[str, Any], changed: dict[str, Any]) -> Any:
    """Two tabs may vote at once: the unique constraint decides which insert becomes an update."""
    kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insert = kind.insert(Label).values(**values)
    return insert.on_conflict_do_update(
        index_elements=[Label.comparison_id, Label.user_id], set_=changed
    ).returning(Label.id)


def explain(label_id: int, reason: str, *, session: Session, user: str) -> Label:
    """Change the reason of a vote, and nothing else; the vote as it was is kept in the history.

    Raises:
        InvalidInput: for a reason that is too long.
        NotFound: when there is no such vote.
        Refused: when it is another person's.
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
    """Take a vote back; the history keeps it, and its voter may vote again, by then with the names known.

    Args:
        user: whose vote it must be, if given.

    Raises:
        NotFound: when there is no such vote.
        Refused: when it is another person's.
    """
    label = get(label_id, session=session) if user is None else _own(label_id, user, session=session)
    label_history.keep(label, session=session, withdrawn=True)
    session.execute(delete(Label).where(Label.id == label_id))
    session.expire_all()


def _own(label_id: int, user: str, *, session: Session) -> Label:
    label = get(label_id, session=session)
    owner = session.get(User, label.user_id)
    if owner is not None and owner.name != user:
        raise Refused(f"This vote is {owner.name}'s; people change and withdraw their own votes.")
    return label


def get(label_id: int, *, session: Session) -> Label:
    """One vote.

    Raises:
        NotFound: when there is none with this id.
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
        viewer: who asks; votes whose names this person may not see yet are `hidden`, and no filter by run
            or choice finds them.
    """
    query = _matching(select(Label), only, viewer).order_by(Label.id.desc()).limit(limit).offset(offset)
    if before is not None:
        query = query.where(Label.id < before)
    return _with_details(session.scalars(query).all(), session, viewer)


def details(label_id: int, *, session: Session, viewer: str | None = None) -> Vote:
    """One vote with all it is about.

    Raises:
        NotFound: when there is none with this id.
    """
    return _with_details([get(label_id, session=session)], session, viewer)[0]


def stream(*, session: Session, only: VoteFilter | None = None, viewer: str | None = None) -> Iterator[Vote]:
    """All votes, oldest first, read in batches so that memory stays flat."""
    last = 0
    while True:
        query = _matching(select(Label), only, viewer).where(Label.id > last)
        query = query.order_by(Label.id).limit(_BATCH)
        labels = session.scalars(query).all()
        if not labels:
            return
        last = labels[-1].id
        yield from _with_details(labels, session, viewer)
        session.expunge_all()


def count(*, session: Session, only: VoteFilter | None = None) -> dict[Choice, int]:
    """How many votes there are of each choice."""
    query = select(Label.choice, func.count()).group_by(Label.choice)
    found: dict[Choice, int] = {choice: number for choice, number in session.execute(_matching(query, only))}
    return {choice: found.get(choice, 0) for choice in Choice}


def count_left_out(
    *, session: Session, only: VoteFilter | None = None
) -> dict[tuple[WhyLeftOut | None, bool], int]:
    """How many votes become no training pair, by reason, and whether an answer of theirs was cut; under None,
    how many become one."""
    query = select(Label.left_out, Label.cut, func.count()).group_by(Label.left_out, Label.cut)
    return {(reason, cut): number for reason, cut, number in session.execute(_matching(query, only))}


def count_hidden(user: str, *, session: Session) -> int:
    """How many votes are on comparisons whose names a person may not see yet."""
    return session.scalar(select(func.count()).select_from(Label).where(~names.visible_to(user))) or 0


def hidden_comparisons(user: str, *, session: Session) -> Sequence[int]:
    """Ids of the comparisons with votes whose names a person may not see yet."""
    query = select(Label.comparison_id).where(~names.visible_to(user)).distinct()
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
        )
        conditions.append(Label.comparison_id.in_(took_part))
    if viewer is not None and (only.run_id is not None or only.choice is not None):
        conditions.append(names.visible_to(viewer))
    return query.where(*conditions)


def _with_details(labels: Sequence[Label], session: Session, viewer: str | None = None) -> list[Vote]:
    """Join what a batch of labels is about, in a handful of queries."""
    comparisons = _by_id(session, Comparison, {label.comparison_id for label in labels})
    people = _by_id(session, User, {label.user_id for label in labels})
    answers = _by_id(session, Generation, {answer for label in labels for answer in label.shown})
    contenders = {
        (comparison.conversation_id, contender.position): contender
        for comparison in comparisons.values()
        for contender in comparison.conversation.contenders
    }
    checkpoint_ids = {c.checkpoint_id for c in contenders.values() if c.checkpoint_id is not None}
    steps = {key: row.step for key, row in _by_id(session, Checkpoint, checkpoint_ids).items()}
    hidden = set() if viewer is None else names.hidden_among(comparisons.values(), viewer, session=session)
    origins = _origins(comparisons.values(), session)
    history = label_history.of_comparisons(comparisons.keys(), session=session)
    found = []
    for label in labels:
        comparison = comparisons[label.comparison_id]
        sides = [
            Side(place, contender, steps.get(contender.checkpoint_id or 0), answers[answer_id])
            for place, answer_id in enumerate(label.shown)
            if answer_id in answers
            and (contender := contenders[comparison.conversation_id, int(answers[answer_id].position or 0)])
        ]
        found.append(
            Vote(
                label,
                people[label.user_id].name,
                comparison,
                sides,
                comparison.id in hidden,
                origins.get(comparison.id),
                tuple(history.get((label.comparison_id, label.user_id), ())),
            )
        )
    return found


def _origins(comparisons: Collection[Comparison], session: Session) -> dict[int, int]:
    """For comparisons that continue one answer: its side at the question before."""
    before = {
        (comparison.conversation_id, comparison.turn - 1): comparison
        for comparison in comparisons
        if comparison.continues_from is not None
    }
    if not before:
        return {}
    earlier = session.execute(
        select(Comparison.conversation_id, Comparison.turn, Comparison.shown_order).where(
            tuple_(Comparison.conversation_id, Comparison.turn).in_(list(before))
        )
    )
    return {
        before[conversation_id, turn].id: order.index(before[conversation_id, turn].continues_from)
        for conversation_id, turn, order in earlier
    }


def _by_id(session: Session, table: Any, ids: set[int]) -> dict[int, Any]:
    rows = session.scalars(select(table).where(table.id.in_(sorted(ids)))).all() if ids else []
    return {row.id: row for row in rows}
