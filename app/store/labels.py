"""Labels: votes on comparisons, one per comparison and person.

A vote counts as blind while its voter had not seen the names: in a blind conversation they are shown to
whoever voted in it, so that later votes there, and a change of mind, are not blind. A withdrawn vote
leaves no trace of who has seen the names, so withdrawing ends the blindness of the conversation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, Refused
from app.store import conversations, tallies, users
from app.store.enums import Choice, GenerationStatus, WhyLeftOut
from app.store.models import (
    Checkpoint,
    Comparison,
    Contender,
    Conversation,
    Generation,
    Label,
    User,
    utcnow,
)
from app.text import clean_text

LETTERS = "ABCD"
MAX_REASON_CHARS = 4_000
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

    contender: Contender
    step: int | None
    answer: Generation

    @property
    def letter(self) -> str:
        return LETTERS[self.contender.position]


@dataclass(frozen=True, slots=True)
class Vote:
    """A label with all it is about; `sides` stand in the order shown."""

    label: Label
    user: str
    comparison: Comparison
    sides: list[Side]

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
    """Store a person's vote on a comparison, in place of an earlier one.

    Args:
        best: position of the best answer, for BEST only; of two answers the other one is the worst.
        worst: position of the worst answer; needed for BEST among more than two.
        seconds: how long the person took to decide; the first vote's counts.

    Raises:
        InvalidInput: for positions that do not fit the choice.
        NotFound: for a comparison that does not exist.
        Refused: while an answer is being written, when one failed, or when there is only one.
    """
    comparison = conversations.get_comparison(comparison_id, session=session)
    conversations.lock(comparison.conversation_id, session=session)
    session.refresh(comparison.conversation)
    answers = conversations.answers(comparison_id, session=session)
    _check_votable(answers)
    best, worst = _check_positions(choice, best, worst, [int(a.position or 0) for a in answers])
    reason = clean_text(reason).strip()
    if len(reason) > MAX_REASON_CHARS:
        raise InvalidInput(f"The reason has more than {MAX_REASON_CHARS:,} characters.", field="reason")
    by_position = {answer.position: answer.id for answer in answers}
    user_id = users.ensure(user, session=session).id
    values: dict[str, Any] = {
        "choice": choice,
        "best_id": None if best is None else by_position[best],
        "worst_id": None if worst is None else by_position[worst],
        "shown": [answer.id for answer in answers],
        "reason": reason,
        "updated_at": utcnow(),
    }
    present = of_user(comparison_id, user, session=session)
    if present is not None:
        same = (present.choice, present.best_id, present.worst_id) == (
            choice,
            values["best_id"],
            values["worst_id"],
        )
        values["blind"] = present.blind and same
        values["seconds"] = seconds if present.seconds is None else present.seconds
    else:
        values["blind"] = names_hidden(comparison.conversation, user, session=session)
        values["seconds"] = seconds
    fresh = {"comparison_id": comparison_id, "user_id": user_id, "created_at": values["updated_at"], **values}
    label_id = session.scalars(_upsert(session, fresh, values)).one()
    tallies.count([label_id], session=session)
    session.expire_all()
    return get(label_id, session=session)


def _upsert(session: Session, values: dict[str, Any], changed: dict[str, Any]) -> Any:
    """Two tabs may vote at once: the unique constraint decides which insert becomes an update."""
    kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insert = kind.insert(Label).values(**values)
    return insert.on_conflict_do_update(
        index_elements=[Label.comparison_id, Label.user_id], set_=changed
    ).returning(Label.id)


def _check_votable(answers: Sequence[Generation]) -> None:
    if len(answers) < 2:
        raise Refused("A vote needs at least two answers; compare two or more models.")
    if any(not answer.status.is_over for answer in answers):
        raise Refused("An answer is still being written; wait for it or stop it, then vote.")
    for letter, answer in zip(LETTERS, answers, strict=False):
        if answer.status is GenerationStatus.FAILED:
            raise Refused(f"Answer {letter} failed; regenerate it, then vote.")


def _check_positions(
    choice: Choice, best: int | None, worst: int | None, positions: list[int]
) -> tuple[int | None, int | None]:
    if choice is not Choice.BEST:
        if best is not None or worst is not None:
            raise InvalidInput("A tie and both bad name no best and no worst answer.", field="choice")
        return None, None
    if len(positions) == 2 and best in positions and worst is None:
        worst = next(position for position in positions if position != best)
    for field, position in (("best", best), ("worst", worst)):
        if position not in positions:
            letters = ", ".join(LETTERS[p] for p in positions)
            raise InvalidInput(f"Name the {field} answer, one of {letters}.", field=field)
    if best == worst:
        raise InvalidInput("The best and the worst answer must differ.", field="worst")
    return best, worst


def withdraw(label_id: int, *, session: Session, user: str | None = None) -> None:
    """Delete a vote; its comparison may be voted on again, by then with the names known.

    Args:
        user: whose vote it must be, if given.

    Raises:
        NotFound: when there is no such vote.
        Refused: when it is another person's.
    """
    label = get(label_id, session=session)
    if user is not None:
        owner = session.get(User, label.user_id)
        if owner is not None and owner.name != user:
            raise Refused(f"This vote is {owner.name}'s; people withdraw their own votes.")
    conversation_id = (
        select(Comparison.conversation_id).where(Comparison.id == label.comparison_id).scalar_subquery()
    )
    session.execute(update(Conversation).where(Conversation.id == conversation_id).values(blind=False))
    session.execute(delete(Label).where(Label.id == label_id))
    session.expire_all()


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


def names_hidden(conversation: Conversation, user: str, *, session: Session) -> bool:
    """Whether a person may not see yet who is who: in a blind conversation, until their first vote."""
    if not conversation.blind:
        return False
    voted = (
        select(Label.id)
        .join(Comparison, Label.comparison_id == Comparison.id)
        .join(User, Label.user_id == User.id)
        .where(Comparison.conversation_id == conversation.id, User.name == user)
        .limit(1)
    )
    return session.scalar(voted) is None


# --- lists ---------------------------------------------------------------------------------------


def votes(
    *,
    session: Session,
    only: VoteFilter | None = None,
    limit: int = 50,
    offset: int = 0,
    before: int | None = None,
) -> list[Vote]:
    """Votes, newest first; only those with a smaller id than `before`, if it is given."""
    query = _matching(select(Label), only).order_by(Label.id.desc()).limit(limit).offset(offset)
    if before is not None:
        query = query.where(Label.id < before)
    return _with_details(session.scalars(query).all(), session)


def details(label_id: int, *, session: Session) -> Vote:
    """One vote with all it is about.

    Raises:
        NotFound: when there is none with this id.
    """
    return _with_details([get(label_id, session=session)], session)[0]


def stream(*, session: Session, only: VoteFilter | None = None) -> Iterator[Vote]:
    """All votes, oldest first, read in batches so that memory stays flat."""
    last = 0
    while True:
        query = _matching(select(Label), only).where(Label.id > last).order_by(Label.id).limit(_BATCH)
        labels = session.scalars(query).all()
        if not labels:
            return
        last = labels[-1].id
        yield from _with_details(labels, session)
        session.expunge_all()


def count(*, session: Session, only: VoteFilter | None = None) -> dict[Choice, int]:
    """How many votes there are of each choice."""
    query = select(Label.choice, func.count()).group_by(Label.choice)
    found: dict[Choice, int] = {choice: number for choice, number in session.execute(_matching(query, only))}
    return {choice: found.get(choice, 0) for choice in Choice}


def count_left_out(*, session: Session, only: VoteFilter | None = None) -> dict[WhyLeftOut | None, int]:
    """How many votes become no training pair, by reason; under None, how many become one."""
    query = select(Label.left_out, func.count()).group_by(Label.left_out)
    return {reason: number for reason, number in session.execute(_matching(query, only))}


def voters(*, session: Session) -> Sequence[str]:
    """Names of the people who voted, sorted."""
    voted = select(Label.id).where(Label.user_id == User.id).exists()
    return session.scalars(select(User.name).where(voted).order_by(User.name)).all()


def _matching(query: Any, only: VoteFilter | None) -> Any:
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
    return query.where(*conditions)


def _with_details(labels: Sequence[Label], session: Session) -> list[Vote]:
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
    found = []
    for label in labels:
        comparison = comparisons[label.comparison_id]
        shown = [answers[answer_id] for answer_id in label.shown if answer_id in answers]
        sides = [
            Side(contender, steps.get(contender.checkpoint_id or 0), answer)
            for answer in shown
            if (contender := contenders[comparison.conversation_id, int(answer.position or 0)])
        ]
        found.append(Vote(label, people[label.user_id].name, comparison, sides))
    return found


def _by_id(session: Session, table: Any, ids: set[int]) -> dict[int, Any]:
    rows = session.scalars(select(table).where(table.id.in_(sorted(ids)))).all() if ids else []
    return {row.id: row for row in rows}
