"""A claim: the hold of one worker on one row, and the columns that record it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column


class Leased:
    """Columns of a table whose rows are worked on by one worker at a time.

    `sent_at` is when the broker last took a message about the row.
    """

    id: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(default=0)
    lease_id: Mapped[str | None] = mapped_column(String(36))
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(200))
    sent_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker claimed: the row's id, the id of its lease, and which attempt at the work this is."""

    id: int
    lease: str
    attempt: int

    @classmethod
    def of(cls, row: Leased) -> Self:
        """The claim under which a row is held now.

        Raises:
            ValueError: nobody holds the row.
        """
        if row.lease_id is None:
            raise ValueError(f"{type(row).__name__} {row.id} is not claimed.")
        return cls(row.id, row.lease_id, row.attempt)
