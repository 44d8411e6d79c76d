"""Labels: votes on comparisons, one per comparison and person.

A vote is blind if the names were hidden from its voter (`app.store.names`). Voting reveals them, so a changed
choice is not blind. Earlier versions of changed and withdrawn votes are kept (`label_history`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.errors import NotFound, Refused
from app.store import adjudications, clock, judging, label_history, names, own_slots, tallies, users, votable
from app.store.aspects import Said, checked
from app.store.enums import Choice
from app.store.models import Comparison, Generation, Label, NamesSeen, User
from app.store.vote_rules import Answer, Cast, facts_of


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
    order: Sequence[int] | None = None,
    aspects: Mapping[str, Said] | None = None,
    asked: Sequence[str] = (),
    reveals: bool = True,
) -> Label:
    """Store a person's vote on a comparison. A vote that it replaces is kept in the history.

    Args:
        best: side of the best answer, 0 for A; for BEST only. Of two answers, the other one is the worst.
        worst: side of the worst answer; required for BEST among more than two.
        seconds: the person's decision time; a changed vote keeps that of the first.
        order: the voter's own display order, as positions of contenders; by default the comparison's.
        aspects: what the person says of the aspects; None keeps what an earlier vote said.
        asked: the aspects that may be named.
        reveals: whether the names are shown to the person after the vote.

    Raises:
        InvalidInput: for sides that do not match the choice.
        NotFound: for a comparison that does not exist.
        Refused: when the answers cannot be judged (`judging.why_not_votable`), when no order is given for a
            comparison of a campaign, or when the person has decided it as an adjudicator.
    """
    comparison = votable.lock(comparison_id, session=session)
    if comparison.campaign_id is not None and order is None:
        raise Refused(
            f"This comparison belongs to campaign {comparison.campaign_id}; judge it on the Label page."
        )
    answers = votable.answers(comparison, session=session, order=order)
    problem = judging.why_not_votable(answers)
    if problem:
        raise Refused(problem)
    values = judging.verdict(choice, best, worst, [answer.id for answer in answers])
    values |= {"reason": judging.checked_reason(reason), "updated_at": clock.now()}
    user_id, present, seen = _standing(comparison_id, user, session=session)
    kept = {} if present is None else dict(present.aspects)
    values["aspects"] = kept if aspects is None else checked(aspects, asked, values["shown"])
    if present is not None and _says(present, values):
        return present
    _check_has_not_decided(comparison, user_id, session=session)
    if present is None:
        values["blind"] = comparison.conversation.blind and not seen
        values["seconds"] = seconds
    else:
        values["blind"] = present.blind and (not seen or _chooses(present, values))
        values["seconds"] = seconds if present.seconds is None else present.seconds
        label_history.keep(present, session=session)
    label = _store(comparison, user_id, values, answers, session=session, first=present is None)
    if reveals and not seen:
        names.record_of(user_id, [comparison_id], session=session)
    return label


def _check_has_not_decided(comparison: Comparison, user_id: int, *, session: Session) -> None:
    """Refuse a vote of a person who has seen the others' votes in order to decide the comparison."""
    if comparison.campaign_id is None or not adjudications.decided_by(
        comparison.id, user_id, session=session
    ):
        return
    raise Refused(
        "You have decided this comparison as an adjudicator, with the others' votes in view; you cannot vote "
        "on it any more, nor change your vote."
    )


def order_of(label: Label, *, session: Session) -> list[int]:
    """The display order in which a vote was cast, as positions of contenders."""
    query = select(Generation.id, Generation.position).where(Generation.id.in_(label.shown))
    positions = {key: position or 0 for key, position in session.execute(query)}
    return [positions[key] for key in label.shown]


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
    is_open = not comparison.conversation.blind
    cast = Cast(*says, comparison.conversation_id, open=is_open, aspects=values["aspects"])
    counting = {answer.id: Answer.of(answer) for answer in answers}
    values = {**values, **facts_of(cast, counting)}
    fresh = {"comparison_id": comparison.id, "user_id": user_id, "created_at": values["updated_at"], **values}
    upsert = _upsert(session, fresh, values)
    label: Label = session.scalars(upsert, execution_options={"populate_existing": True}).one()
    tallies.keep_pairs({label.id: cast}, counting, session=session, first=first)
    return label


def _chooses(label: Label, values: dict[str, Any]) -> bool:
    """Whether a vote already has this choice."""
    return all(getattr(label, name) == values[name] for name in ("choice", "best_id", "worst_id"))


def _says(label: Label, values: dict[str, Any]) -> bool:
    """Whether a vote already has this choice, these aspects and this reason."""
    return _chooses(label, values) and all(
        getattr(label, name) == values[name] for name in ("aspects", "reason")
    )


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
    label = own(label_id, user, session=session)
    reason = judging.checked_reason(reason)
    if label.reason != reason:
        label_history.keep(label, session=session)
        label.reason, label.updated_at = reason, clock.now()
        session.flush()
        session.refresh(label)
    return label


def withdraw(label_id: int, *, session: Session, user: str | None = None) -> None:
    """Withdraw a vote. The history keeps it, and the voter may vote again, no longer blind.

    In a campaign, somebody else may then judge the comparison.

    Args:
        user: the required owner of the vote, if given.

    Raises:
        NotFound: when the vote does not exist.
        Refused: when the vote belongs to another person.
    """
    label = get(label_id, session=session) if user is None else own(label_id, user, session=session)
    label_history.keep(label, session=session, withdrawn=True)
    own_slots.give_to_others(label.comparison_id, label.user_id, session=session)
    session.execute(delete(Label).where(Label.id == label_id))
    session.expire_all()


def own(label_id: int, user: str, *, session: Session) -> Label:
    """One vote of a person.

    Raises:
        NotFound: when the vote does not exist.
        Refused: when it belongs to another person.
    """
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
