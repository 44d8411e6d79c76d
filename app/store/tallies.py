"""Tallies: derived facts, stored with each vote and aggregated by the database.

A vote's facts depend on rows that do not change after the vote: its answers and their contenders. They are
derived in the vote's transaction. When a rule below changes, RULES is incremented. Votes counted under
earlier rules are then recounted after a migration and by the workers' keepers.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store import names
from app.store.enums import Choice, GenerationStatus, Outcome, WhyLeftOut
from app.store.models import (
    Answerer,
    Checkpoint,
    Comparison,
    Contender,
    Conversation,
    Generation,
    Label,
    LabelPair,
)

RULES = 3
"""Version of the counting rules. Increment it whenever a vote would be counted differently."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The fields of an answer that matter for counting."""

    id: int
    position: int
    prompt_id: int
    text: str
    complete: bool
    ended: bool
    """Whether it ended by itself or at the length limit. Stopped and failed answers are not counted."""

    @classmethod
    def of(cls, row: Any) -> "Answer":
        """Create from a generation, or from a row with its columns."""
        ended = row.status is GenerationStatus.FINISHED
        return cls(row.id, row.position or 0, row.prompt_id, row.text, row.complete, ended)


@dataclass(frozen=True, slots=True)
class PairCount:
    """The number of votes per outcome for two answerers."""

    first: Answerer
    second: Answerer
    outcomes: dict[Outcome, int]


@dataclass(slots=True)
class Totals:
    """Vote totals. `first_side` is out of `two_sided` votes, and `longer` is out of `longer_of`."""

    votes: int = 0
    blind: int = 0
    first_side: int = 0
    two_sided: int = 0
    longer: int = 0
    longer_of: int = 0


# --- the rules -------------------------------------------------------------------------------


def why_left_out(choice: Choice, best: Answer | None, worst: Answer | None) -> WhyLeftOut | None:
    """Why a vote does not become a training pair; None if it does."""
    if choice is Choice.TIE:
        return WhyLeftOut.TIE
    if choice is Choice.ALL_BAD or best is None or worst is None:
        return WhyLeftOut.ALL_BAD
    if not best.ended or not worst.ended:
        return WhyLeftOut.UNFINISHED
    if best.prompt_id != worst.prompt_id:
        return WhyLeftOut.DIFFERENT_HISTORIES
    if not best.text.strip() or not worst.text.strip():
        return WhyLeftOut.EMPTY
    if best.text.strip() == worst.text.strip():
        return WhyLeftOut.SAME_TEXT
    return None


def outcome_of(
    choice: Choice, best_id: int | None, worst_id: int | None, one: int, other: int
) -> Outcome | None:
    """The outcome of a vote for two of its answers: the best beats all others, all others beat the worst."""
    if choice is Choice.TIE:
        return Outcome.TIE
    if choice is Choice.ALL_BAD:
        return Outcome.ALL_BAD
    if one == best_id or other == worst_id:
        return Outcome.FIRST
    if other == best_id or one == worst_id:
        return Outcome.SECOND
    return None


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


# --- counting --------------------------------------------------------------------------------


def count_waiting(*, session: Session, limit: int = 500) -> int:
    """Count votes not yet counted under the current rules, and return their number."""
    # `counted` comes first to use its index; otherwise the planner may scan all votes in id order
    waiting = select(Label.id).where(Label.counted < RULES).order_by(Label.counted, Label.id).limit(limit)
    ids = list(session.scalars(waiting.with_for_update(skip_locked=True)))
    count(ids, session=session)
    return len(ids)


@dataclass(frozen=True, slots=True)
class Cast:
    """The fields of a vote that matter for counting: its choice, its answers and its conversation."""

    choice: Choice
    best_id: int | None
    worst_id: int | None
    shown: Sequence[int]
    conversation_id: int
    open: bool
    """Whether the conversation is not blind."""


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
        label_id: Cast(choice, best_id, worst_id, shown, conversation_id, open=not blind)
        for label_id, choice, best_id, worst_id, shown, conversation_id, blind in rows
    }
    answers = _answers({answer_id for cast in casts.values() for answer_id in cast.shown}, session)
    keep_pairs(casts, answers, session=session)
    facts = [{"id": label_id, **facts_of(cast, answers)} for label_id, cast in casts.items()]
    session.execute(update(Label), facts)


_CAST = (Label.id, Label.choice, Label.best_id, Label.worst_id, Label.shown)


def keep_pairs(
    casts: Mapping[int, Cast], answers: Mapping[int, Answer], *, session: Session, first: bool = False
) -> None:
    """Store the outcomes of votes, keyed by id, for each pair of their answers, replacing earlier ones.

    Args:
        first: there are no earlier ones.
    """
    seats = _seats({cast.conversation_id for cast in casts.values()}, session)
    ids = _keep_answerers([seat for at in seats.values() for seat in at.values()], session)
    if not first:
        session.execute(delete(LabelPair).where(LabelPair.label_id.in_(casts)))
    pairs: list[dict[str, Any]] = []
    for label_id, cast in casts.items():
        shown = [answers[answer_id] for answer_id in cast.shown if answer_id in answers]
        stands = _pairs_of(cast, shown, seats[cast.conversation_id], ids)
        pairs += [{"label_id": label_id, **stand} for stand in stands]
    if pairs:
        session.execute(LabelPair.__table__.insert(), pairs)  # type: ignore[attr-defined]


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


def _digest(seat: dict[str, Any]) -> str:
    written = json.dumps(seat, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()


def _pairs_of(
    cast: Cast, shown: Sequence[Answer], seats: dict[int, dict[str, Any]], ids: dict[str, int]
) -> Iterator[dict[str, Any]]:
    for pair in combinations([answer for answer in shown if answer.ended], 2):
        one, other = sorted(pair, key=lambda answer: _rank(seats[answer.position]))
        first, second = ids[_digest(seats[one.position])], ids[_digest(seats[other.position])]
        outcome = outcome_of(cast.choice, cast.best_id, cast.worst_id, one.id, other.id)
        if first != second and outcome is not None:
            yield {"first_id": first, "second_id": second, "outcome": outcome, "open": cast.open}


def facts_of(cast: Cast, answers: Mapping[int, Answer]) -> dict[str, Any]:
    """The derived columns of a vote's row."""
    best = None if cast.best_id is None else answers.get(cast.best_id)
    worst = None if cast.worst_id is None else answers.get(cast.worst_id)
    first_side = longer = None
    cut = False
    if best is not None and worst is not None and best.ended and worst.ended:
        cut = not (best.complete and worst.complete)
        if len(cast.shown) == 2:
            first_side = best.id == cast.shown[0]
        if len(best.text) != len(worst.text):
            longer = len(best.text) > len(worst.text)
    return {
        "first_side": first_side,
        "longer": longer,
        "left_out": why_left_out(cast.choice, best, worst),
        "cut": cut,
        "open": cast.open,
        "counted": RULES,
    }


# --- aggregation -----------------------------------------------------------------------------


def totals(*, session: Session, viewer: str | None = None) -> Totals:
    """Totals over all votes. With a viewer, only over votes whose names this person may see."""
    columns = (Label.blind, Label.first_side, Label.longer)
    found = Totals()
    query = select(*columns, func.count()).where(*_seen_by(viewer)).group_by(*columns)
    for blind, first_side, longer, number in session.execute(query):
        found.votes += number
        found.blind += number if blind else 0
        found.first_side += number if first_side else 0
        found.two_sided += number if first_side is not None else 0
        found.longer += number if longer else 0
        found.longer_of += number if longer is not None else 0
    return found


def _seen_by(viewer: str | None) -> list[ColumnElement[bool]]:
    return [] if viewer is None else [names.visible_to(viewer)]


def agreement(*, session: Session, viewer: str | None = None) -> tuple[int, int]:
    """Pairs of votes on the same comparison: how many agree, and how many there are."""
    contested = (
        select(Label.comparison_id)
        .where(*_seen_by(viewer))
        .group_by(Label.comparison_id)
        .having(func.count() > 1)
    )
    opinion = (
        select(Label.comparison_id, func.count().label("same"))
        .where(Label.comparison_id.in_(contested), *_seen_by(viewer))
        .group_by(Label.comparison_id, Label.choice, Label.best_id, Label.worst_id)
        .subquery()
    )
    several = (
        select(
            func.sum(opinion.c.same * (opinion.c.same - 1) / 2).label("agreed"),
            func.sum(opinion.c.same).label("all"),
        )
        .group_by(opinion.c.comparison_id)
        .subquery()
    )
    all_votes = several.c["all"]
    query = select(func.sum(several.c.agreed), func.sum(all_votes * (all_votes - 1) / 2))
    agreed, pairs = session.execute(query).one()
    return int(agreed or 0), int(pairs or 0)


def pairs(
    *, session: Session, limit: int = 50, offset: int = 0, viewer: str | None = None
) -> tuple[list[PairCount], int]:
    """Outcomes per pair of answerers, most votes first, and the total number of such pairs."""
    shown = _pairs_seen_by(viewer)
    votes = func.count()
    met = (
        select(
            LabelPair.first_id, LabelPair.second_id, votes.label("votes"), func.count().over().label("met")
        )
        .where(*shown)
        .group_by(LabelPair.first_id, LabelPair.second_id)
    )
    most = met.order_by(votes.desc(), LabelPair.first_id, LabelPair.second_id)
    page = most.limit(limit).offset(offset).subquery()
    rows = session.execute(
        select(page.c.first_id, page.c.second_id, page.c.met, LabelPair.outcome, func.count())
        .join(LabelPair, (LabelPair.first_id == page.c.first_id) & (LabelPair.second_id == page.c.second_id))
        .where(*shown)
        .group_by(page.c.first_id, page.c.second_id, page.c.met, page.c.votes, LabelPair.outcome)
        .order_by(page.c.votes.desc(), page.c.first_id, page.c.second_id)
    ).all()
    if not rows:
        number = session.scalar(select(func.count()).select_from(met.subquery())) if offset else 0
        return [], number or 0
    ids = {answerer for row in rows for answerer in row[:2]}
    known = {found.id: found for found in session.scalars(select(Answerer).where(Answerer.id.in_(ids)))}
    found: dict[tuple[int, int], PairCount] = {}
    for first, second, _, outcome, number in rows:
        pair = found.setdefault((first, second), PairCount(known[first], known[second], {}))
        pair.outcomes[outcome] = number
    return list(found.values()), rows[0].met


def _pairs_seen_by(viewer: str | None) -> list[ColumnElement[bool]]:
    if viewer is None:
        return []
    seen = select(Label.id).where(names.seen_by(viewer))
    return [or_(LabelPair.open, LabelPair.label_id.in_(seen))]
