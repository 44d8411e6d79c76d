"""Keyset pagination: each page contains the cursor of the next, so new rows never shift later pages."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from app.errors import InvalidInput
from app.text import read_id

MOST_A_PAGE = 200

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=MOST_A_PAGE, description="Maximum number of items on a page.")]
Cursor = Annotated[str | None, Query(max_length=40, description="The `next` of the previous page.")]


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(description="The `cursor` of the next page; null on the last.")


def cut(rows: Sequence[T], limit: int, place: Callable[[T], object]) -> tuple[list[T], str | None]:
    """Cut rows, queried with one more than the limit, to a page and return it with the next cursor."""
    shown = list(rows[:limit])
    return shown, str(place(shown[-1])) if len(rows) > limit else None


def place_of(cursor: str | None) -> int | None:
    """The id in a cursor.

    Raises:
        InvalidInput: the cursor is not an id.
    """
    if cursor is None:
        return None
    place = read_id(cursor)
    if place is None:
        raise InvalidInput("cursor must be the `next` of the previous page.", field="cursor")
    return place
