"""Tallies: facts that are stored with each vote, so that the database can add them up.

The facts follow from rows that do not change after the vote: its answers and the models that wrote them. They
are computed in the vote's transaction (:mod:`app.store.vote_rules`). Votes that were counted by earlier rules
are counted again after a migration and by the keepers.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store.models import (
    Answerer,
    AspectPair,
    Checkpoint,
    Comparison,
    Contender,
    Conversation,
    Generation,
    Label,
    LabelPair,
)
from app.store.vote_rules import RULES, Answer, Cast, facts_of, outcome_of


def count_waiting(*, session: Session, limit: int = 500) -> int:
    """Count votes not yet counted under the current rules, and return their number."""
    # `counted` comes first to use its index; otherwise the planner may scan all votes in id order
    waiting = select(Label.id).where(Label.counted < RULES).order_by(Label.counted, Label.id).limit(limit)
    ids = list(session.scalars(waiting.with_for_update(skip_locked=True)))
    count(ids, session=session)
    return len(ids)


def count(label_ids: Sequence[int], *, session: Session) -> None:
    """Derive and store the facts of votes, replacing earlier ones."""
    if not label_ids:
        return
    rows = session.execute(
        select(*_CAST, Comparison.conversation_id, Conversation.blind)
        .join(Comparison, Label.comparison_id == Comparison.id)
        .join(Conversation, Comparison.conversation_id == Conversation.id)
        .where(Label.id.in_(label_ids))
    ).all()
    casts = {
        label_id: Cast(choice, best_id, worst_id, shown, conversation_id, open=not blind, aspects=aspects)
        for label_id, choice, best_id, worst_id, shown, aspects, conversation_id, blind in rows
    }
    answers = _answers({answer_id for cast in casts.values() for answer_id in cast.shown}, session)
    keep_pairs(casts, answers, session=session)
    facts = [{"id": label_id, **facts_of(cast, answers)} for label_id, cast in casts.items()]
    session.execute(update(Label), facts)


_CAST = (Label.id, Label.choice, Label.best_id, Label.worst_id, Label.shown, Label.aspects)


def keep_pairs(
    casts: Mapping[int, Cast], answers: Mapping[int, Answer], *, session: Session, first: bool = False
) -> None:
    """Store the outcomes of votes and their aspects for each pair of answers, replacing earlier ones.

    Args:
        casts: the votes by id.
        first: there are no earlier ones.
    """
    seats = _seats({cast.conversation_id for cast in casts.values()}, session)
    ids = _keep_answerers([seat for at in seats.values() for seat in at.values()], session)
    if not first:
        for table in (LabelPair, AspectPair):
            session.execute(delete(table).where(table.label_id.in_(casts)))
    pairs: list[dict[str, Any]] = []
    of_aspects: list[dict[str, Any]] = []
    for label_id, cast in casts.items():
        shown = [answers[answer_id] for answer_id in cast.shown if answer_id in answers]
        there = seats[cast.conversation_id]
        pairs += [{"label_id": label_id, **row} for row in _pairs_of(cast, shown, there, ids)]
        for aspect, verdict in cast.of_aspects().items():
            rows = _pairs_of(verdict, shown, there, ids)
            of_aspects += [{"label_id": label_id, "aspect": aspect, **row} for row in rows]
    if pairs:
        session.execute(LabelPair.__table__.insert(), pairs)  # type: ignore[attr-defined]
    if of_aspects:
        session.execute(AspectPair.__table__.insert(), of_aspects)  # type: ignore[attr-defined]


def outcomes(cast: Cast, answers: Mapping[int, Answer], *, session: Session) -> list[dict[str, Any]]:
    """The columns of a verdict's outcome for each pair of its answers."""
    seats = _seats({cast.conversation_id}, session)[cast.conversation_id]
    ids = _keep_answerers(list(seats.values()), session)
    shown = [answers[answer_id] for answer_id in cast.shown if answer_id in answers]
    return list(_pairs_of(cast, shown, seats, ids))


def _answers(ids: set[int], session: Session) -> dict[int, Answer]:
    columns = (
        Generation.id,
        Generation.position,
        Generation.prompt_id,
        Generation.text,
        Generation.complete,
        Generation.status,
    )
    rows = session.execute(select(*columns).where(Generation.id.in_(sorted(ids)))).all()
    return {row.id: Answer.of(row) for row in rows}


def _seats(conversation_ids: set[int], session: Session) -> dict[int, dict[int, dict[str, Any]]]:
    """The answerers, by conversation and position."""
    rows = session.execute(
        select(Contender, Checkpoint.step)
        .outerjoin(Checkpoint, Contender.checkpoint_id == Checkpoint.id)
        .where(Contender.conversation_id.in_(sorted(conversation_ids)))
    )
    seats: dict[int, dict[int, dict[str, Any]]] = defaultdict(dict)
    for contender, step in rows:
        seats[contender.conversation_id][contender.position] = {
            "name": contender.name,
            "method": contender.method,
            "base_model": contender.base_model,
            "run_id": contender.run_id,
            "step": step,
        }
    return seats


def _keep_answerers(seats: Sequence[dict[str, Any]], session: Session) -> dict[str, int]:
    """Insert new answerers and return the ids of all, by digest. Two writers may race on one."""
    wanted = {_digest(seat): seat for seat in seats}
    query = select(Answerer.sha256, Answerer.id).where(Answerer.sha256.in_(sorted(wanted)))
    known: dict[str, int] = {digest: key for digest, key in session.execute(query)}
    fresh = sorted(wanted.keys() - known.keys())
    if fresh:
        kind: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        rows = [{"sha256": digest, **wanted[digest]} for digest in fresh]
        session.execute(kind.insert(Answerer).on_conflict_do_nothing(), rows)
        known = {digest: key for digest, key in session.execute(query)}
    return known


def digest_of(answerer: Answerer) -> str:
    """The digest by which the votes on a model find its row."""
    columns = ("name", "method", "base_model", "run_id", "step")
    return _digest({column: getattr(answerer, column) for column in columns})


def _digest(seat: dict[str, Any]) -> str:
    written = json.dumps(seat, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()


def _pairs_of(
    cast: Cast, shown: Sequence[Answer], seats: dict[int, dict[str, Any]], ids: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """Rows of `label_pairs`. Answers that continue different histories share the oldest of their prompts."""
    prompt_id = min((answer.prompt_id for answer in shown), default=None)
    for pair in combinations([answer for answer in shown if answer.ended], 2):
        one, other = sorted(pair, key=lambda answer: _rank(seats[answer.position]))
        first, second = ids[_digest(seats[one.position])], ids[_digest(seats[other.position])]
        outcome = outcome_of(cast.choice, cast.best_id, cast.worst_id, one.id, other.id)
        if first != second and outcome is not None:
            yield {
                "first_id": first,
                "second_id": second,
                "outcome": outcome,
                "open": cast.open,
                "prompt_id": prompt_id,
                "length_difference": len(one.text) - len(other.text),
            }


def _rank(answerer: dict[str, Any]) -> tuple[Any, ...]:
    """Sort key: HyPO before DPO, both before the reference, so that rates read the same way everywhere."""
    order = {"hypo": 0, "dpo": 1, "reference": 3}.get(answerer["method"], 2)
    return (
        order,
        answerer["name"],
        answerer["run_id"] or 0,
        answerer["step"] or 0,
        answerer["base_model"],
    )
