"""Votes with their context: answers, contenders, voters and earlier versions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session, defer, lazyload

from app.store import adjudications, label_history, names
from app.store.judging import LETTERS
from app.store.models import (
    Adjudication,
    Checkpoint,
    Comparison,
    Contender,
    Generation,
    Label,
    LabelVersion,
    User,
)

_SHORT = (defer(Generation.token_logps), defer(Generation.parameters), lazyload(Generation.prompt))


@dataclass(frozen=True, slots=True)
class Side:
    """One answer of a comparison that was voted on, with its contender."""

    place: int
    contender: Contender
    step: int | None
    answer: Generation

    @property
    def letter(self) -> str:
        return LETTERS[self.place]


@dataclass(frozen=True, slots=True)
class Vote:
    """A label with its context; `sides` are in display order.

    `hidden` means that the viewer may not see the names yet. `continues_from` is the side of the previous
    question whose answer all contenders continued. `adjudicated` is the verdict on the comparison, if any.
    """

    label: Label
    user: str
    comparison: Comparison
    sides: list[Side]
    hidden: bool = False
    continues_from: int | None = None
    earlier: tuple[LabelVersion, ...] = ()
    adjudicated: Adjudication | None = None

    @property
    def best(self) -> Side | None:
        return next((side for side in self.sides if side.answer.id == self.label.best_id), None)

    @property
    def worst(self) -> Side | None:
        return next((side for side in self.sides if side.answer.id == self.label.worst_id), None)


def of_labels(
    labels: Sequence[Label], *, session: Session, viewer: str | None = None, whole: bool = False
) -> list[Vote]:
    """Votes with their context, in a handful of queries for all of them.

    Args:
        viewer: the person who reads the votes. Votes whose names this person may not see yet are `hidden`.
        whole: also read the answers' prompts and token log-probabilities. They are most of the stored data,
            and no list shows them.
    """
    comparisons = _by_id(session, Comparison, {label.comparison_id for label in labels})
    people = _by_id(session, User, {label.user_id for label in labels})
    shown = {answer for label in labels for answer in label.shown}
    answers = _by_id(session, Generation, shown, () if whole else _SHORT)
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
    decided = adjudications.of_comparisons(comparisons.keys(), session=session)
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
                decided.get(comparison.id),
            )
        )
    return found


def _origins(comparisons: Collection[Comparison], session: Session) -> dict[int, int]:
    """For comparisons that continue one answer: its side at the previous question."""
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


def _by_id(session: Session, table: Any, ids: set[int], options: Sequence[Any] = ()) -> dict[int, Any]:
    query = select(table).options(*options).where(table.id.in_(sorted(ids)))
    return {row.id: row for row in session.scalars(query)} if ids else {}
