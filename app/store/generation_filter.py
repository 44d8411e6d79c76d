"""Which generations a list shows, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy.orm import InstrumentedAttribute

from app.errors import InvalidInput
from app.store.enums import GenerationKind
from app.store.models import Generation
from app.text import MAX_ID, read_id

MOST_RUNS: Final = 50


class GenerationOrigin(StrEnum):
    """Where a text was generated: in a run, in a chat on the compare page, or for a campaign."""

    RUN = "run"
    CHAT = "chat"
    CAMPAIGN = "campaign"


class GenerationSort(StrEnum):
    """What a list of generations is sorted by."""

    NEWEST = "newest"
    TOKENS = "tokens"
    LOG_RATIO = "log_ratio"
    TOKEN_LOG_RATIO = "token_log_ratio"
    SCORE = "score"

    @property
    def column(self) -> InstrumentedAttribute[Any]:
        """The column that is sorted by; rows without a value are left out."""
        found: InstrumentedAttribute[Any] = getattr(Generation, "id" if self == "newest" else self.value)
        return found


@dataclass(frozen=True, slots=True)
class GenerationFilter:
    """A filter for generations; empty fields filter nothing.

    Attributes:
        text: words of the text, as search_words.py parses them.
        prompt_text: the same of the prompt.
        run_ids: samples of these runs, and answers of their checkpoints.
        first_step: only samples of training, from this step on; `last_step` up to this one.
        campaign_id: answers of this campaign.
    """

    text: str = ""
    prompt_text: str = ""
    prompt_id: int | None = None
    run_ids: Sequence[int] = ()
    kinds: Sequence[GenerationKind] = ()
    first_step: int | None = None
    last_step: int | None = None
    origin: GenerationOrigin | None = None
    campaign_id: int | None = None

    @property
    def is_empty(self) -> bool:
        return self == GenerationFilter()

    def check(self) -> None:
        """Check the numbers.

        Raises:
            InvalidInput: for too many runs, or a range of steps that ends before it begins.
        """
        if len(self.run_ids) > MOST_RUNS:
            raise InvalidInput(f"Name at most {MOST_RUNS} runs.", field="run")
        steps = [step for step in (self.first_step, self.last_step) if step is not None]
        if any(not 0 <= step <= MAX_ID for step in steps):
            raise InvalidInput(f"A step is a number from 0 to {MAX_ID}.", field="steps")
        if len(steps) == 2 and steps[0] > steps[1]:
            raise InvalidInput(
                f"The steps end ({steps[1]:,}) before they begin ({steps[0]:,}); swap them.", field="steps"
            )


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a row in a sorted list: the value that it is sorted by, and its id."""

    value: float
    id: int

    def __str__(self) -> str:
        return f"{self.value!r}_{self.id}"

    @classmethod
    def read(cls, text: str | None) -> "Place | None":
        """Read a place from its text.

        Raises:
            InvalidInput: for another text.
        """
        if not text:
            return None
        value, _, id_ = text.partition("_")
        number = read_id(id_)
        try:
            at = float(value) if len(value) <= 32 else None
        except ValueError:
            at = None
        if number is None or at is None or at != at:
            raise InvalidInput("cursor must be the `next` of the previous page.", field="cursor")
        return cls(at, number)
