"""Deleting what hangs on a row a few rows at a time, so that nobody waits long for a lock."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

Children = Sequence[tuple[Any, tuple[Any, ...], Any]]
"""Tables, each with its primary key and the column that names the row it hangs on."""


def delete_some(children: Children, owner: int, *, session: Session, rows: int) -> bool:
    """Delete up to so many rows of the first table that has any; False when none was left."""
    for table, key, owned_by in children:
        some = select(*key).where(owned_by == owner).limit(rows)
        column = key[0] if len(key) == 1 else tuple_(*key)
        done: Any = session.execute(
            delete(table).where(column.in_(some)).execution_options(synchronize_session=False)
        )
        if done.rowcount:
            return True
    return False
