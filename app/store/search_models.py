"""The table of the search's progress through older rows."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.store.base import Base


class SearchBackfill(Base):
    """Rows of a table, up to `next_id`, that are older than the word index and not yet in it."""

    __tablename__ = "search_backfill"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    next_id: Mapped[int]
