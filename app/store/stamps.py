"""Stamps: one small query that tells a page whether to reload its data."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.enums import GenerationStatus
from app.store.models import Comparison, Generation, Label, NamesSeen, User


def of_conversation(conversation_id: int, user: str, *, session: Session) -> str:
    """A short text that changes with a person's view of a conversation.

    The view consists of questions, takes, the person's own votes, and the names shown to the person.
    """
    asked = select(Comparison.id).where(Comparison.conversation_id == conversation_id)
    who = select(User.id).where(User.name == user).scalar_subquery()
    own = (Label.comparison_id.in_(asked), Label.user_id == who)
    answers = Generation.comparison_id.in_(asked)
    growing = Generation.status.in_([GenerationStatus.QUEUED, GenerationStatus.RUNNING])
    seen = (NamesSeen.comparison_id.in_(asked), NamesSeen.user_id == who)
    row = session.execute(
        select(
            select(func.max(Generation.id)).where(answers).scalar_subquery(),
            select(func.count()).select_from(Generation).where(answers, growing).scalar_subquery(),
            select(func.count()).select_from(Label).where(*own).scalar_subquery(),
            select(func.max(Label.updated_at)).where(*own).scalar_subquery(),
            select(func.count()).select_from(NamesSeen).where(*seen).scalar_subquery(),
        )
    ).one()
    return " ".join(map(str, row))
