"""Errors."""

from typing import Any

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """An error of any kind."""

    status: int = Field(description="The HTTP status.")
    error: str = Field(
        description="The kind of error, for programs: not_found, refused, invalid_input and so on."
    )
    field: str | None = Field(None, description="The field with the invalid value, if there is one.")
    message: str = Field(description="What is wrong and what to do, as a sentence.")


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": said}
    for status, said in {
        400: "The body cannot be read.",
        401: "The token is missing or not valid.",
        404: "The object does not exist.",
        409: "The current state does not allow it.",
        413: "The body is too large.",
        422: "A value is invalid; `field` names it.",
        503: "The database cannot be reached.",
    }.items()
}
"""The errors that any route may return, for the schema."""
