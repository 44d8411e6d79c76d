"""A person's slot on a comparison, as votes need it: the display order, and what a withdrawn vote leaves."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.store import clock
from app.store.enums import SlotStatus
from app.store.models import Slot


def order_of(comparison_id: int, user_id: int, *, session: Session) -> Sequence[int] | None:
    """A person's display order of a comparison, as positions of contenders; None without a slot."""
    query = select(Slot.shown_order).where(Slot.comparison_id == comparison_id, Slot.user_id == user_id)
    return session.scalar(query)


def give_to_others(comparison_id: int, user_id: int, *, session: Session) -> None:
    """Mark a person's slot as skipped, so that somebody else can judge the comparison."""
    values = {"status": SlotStatus.SKIPPED, "updated_at": clock.now()}
    mine = (Slot.comparison_id == comparison_id, Slot.user_id == user_id)
    session.execute(update(Slot).where(*mine).values(**values))
