"""Claims: one worker's exclusive hold on one row, and the columns that record it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column


class Leased:
    """Columns of a table whose rows only one worker processes at a time.

    `sent_at` is the time at which the broker last accepted a message about the row.
    """

    id: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(default=0)
    lease_id: Mapped[str | None] = mapped_column(String(36))
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(200))
    sent_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's claim on a row: the row's id, the lease's id and the number of the attempt."""

    id: int
    lease: str
    attempt: int

    @classmethod
    def of(cls, row: Leased) -> Self:
        """Return the current claim on a row.

        Raises:
            ValueError: the row is not claimed.
        """
        if row.lease_id is None:
            raise ValueError(f"{type(row).__name__} {row.id} is not claimed.")
        return cls(row.id, row.lease_id, row.attempt)
