"""Labels: votes on comparisons, one per comparison and person."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.models import Label


def has_votes(comparison_id: int, *, session: Session) -> bool:
    """Whether anybody voted on a comparison."""
    return session.scalar(select(Label.id).where(Label.comparison_id == comparison_id).limit(1)) is not None
