"""Generations with their origin: the run and step, or the conversation and the contender that answered.

The origin of an answer whose names are hidden from the reader is left out here, so that no page, command or
route can show it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from app.errors import NotFound
from app.store import generation_search, names
from app.store.generation_filter import GenerationOrigin
from app.store.models import Comparison, Contender, Conversation, Generation, Run

T = TypeVar("T", Run, Comparison)


@dataclass(frozen=True, slots=True)
class Origin:
    """A generation and where it comes from.

    With `hidden`, the reader may not see who wrote the text yet, nor a number that tells it: neither may be
    shown then, and `contender` is None.
    """

    generation: Generation
    run: Run | None
    comparison: Comparison | None
    contender: Contender | None
    hidden: bool

    @property
    def kind(self) -> GenerationOrigin:
        if self.comparison is None:
            return GenerationOrigin.RUN
        in_campaign = self.comparison.campaign_id is not None
        return GenerationOrigin.CAMPAIGN if in_campaign else GenerationOrigin.CHAT

    @property
    def run_id(self) -> int | None:
        """The run that sampled the text, or whose checkpoint answered."""
        return self.generation.run_id if self.contender is None else self.contender.run_id

    @property
    def log_ratio(self) -> float | None:
        """log π − log π_ref of the whole text, in nats."""
        return None if self.hidden else self.generation.log_ratio


def of_ids(ids: Sequence[int], *, session: Session, viewer: str) -> list[Origin]:
    """Generations by id, in this order; ids that do not exist are left out."""
    query = select(Generation).where(Generation.id.in_(ids)).options(defer(Generation.token_logps))
    rows = {row.id: row for row in session.scalars(query)}
    return of_rows([rows[at] for at in ids if at in rows], session=session, viewer=viewer)


def of_rows(rows: Sequence[Generation], *, session: Session, viewer: str) -> list[Origin]:
    """Generations with their origins."""
    runs = _by_id(Run, {row.run_id for row in rows}, session)
    comparisons = _by_id(Comparison, {row.comparison_id for row in rows}, session)
    hidden = names.hidden_among(comparisons.values(), viewer, session=session)
    found = []
    for row in rows:
        comparison = comparisons.get(row.comparison_id or 0)
        is_hidden = comparison is not None and comparison.id in hidden
        contender = None if comparison is None or is_hidden else _contender(comparison.conversation, row)
        found.append(Origin(row, runs.get(row.run_id or 0), comparison, contender, is_hidden))
    return found


def get(generation_id: int, *, session: Session, viewer: str) -> Origin:
    """One generation that a person may see.

    Raises:
        NotFound: when there is none with this id that the person may see.
    """
    row = session.get(Generation, generation_id)
    if row is None or not generation_search.is_visible(generation_id, session=session, viewer=viewer):
        raise NotFound(
            f"There is no generation {generation_id} for you: it does not exist, is still being written, or "
            "belongs to a campaign whose names you have not seen."
        )
    return of_rows([row], session=session, viewer=viewer)[0]


def _by_id(table: type[T], ids: Collection[int | None], session: Session) -> dict[int, T]:
    known = sorted(key for key in ids if key is not None)
    if not known:
        return {}
    return {row.id: row for row in session.scalars(select(table).where(table.id.in_(known)))}


def _contender(conversation: Conversation, row: Generation) -> Contender | None:
    return next((one for one in conversation.contenders if one.position == row.position), None)
