"""Types of request values: text that can be stored, and ids within the valid range."""

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.text import MAX_ID, clean_text

Text = Annotated[str, AfterValidator(clean_text)]
Name = Annotated[Text, Field(max_length=200)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
PathId = Annotated[int, Path(ge=1, le=MAX_ID)]


class Given(BaseModel):
    """A request's body: what it does not know is refused, so that a typing error is not lost."""

    model_config = ConfigDict(extra="forbid")


class Shown(BaseModel):
    """A part of an answer."""
