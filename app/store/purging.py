"""Delete the children of a row in small batches, so that locks are short."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

Children = Sequence[tuple[Any, tuple[Any, ...], Any]]
"""Child tables, each with its primary key and its foreign key to the owner."""


def delete_some(children: Children, owner: int, *, session: Session, rows: int) -> bool:
    """Delete up to `rows` children from the first table that has any; False when none are left."""
    for table, key, owned_by in children:
        some = select(*key).where(owned_by == owner).limit(rows)
        column = key[0] if len(key) == 1 else tuple_(*key)
        done: Any = session.execute(
            delete(table).where(column.in_(some)).execution_options(synchronize_session=False)
        )
        if done.rowcount:
            return True
    return False
