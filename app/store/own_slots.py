"""What a withdrawn vote leaves of its person's slot."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.store import clock
from app.store.enums import SlotKind, SlotStatus
from app.store.models import Slot


def give_to_others(comparison_id: int, user_id: int, *, session: Session) -> None:
    """Mark a person's slot as skipped, so that somebody else can judge the comparison."""
    values = {"status": SlotStatus.SKIPPED, "updated_at": clock.now()}
    mine = (Slot.comparison_id == comparison_id, Slot.user_id == user_id, Slot.kind == SlotKind.TASK)
    session.execute(update(Slot).where(*mine).values(**values))
