"""The rules for votes: which answers can be judged, and which votes are valid."""

from collections.abc import Sequence
from typing import Any

from app.errors import InvalidInput
from app.store.enums import Choice, GenerationStatus
from app.store.models import Generation
from app.text import clean_text

LETTERS = "ABCD"
MAX_REASON_CHARS = 4_000


def why_not_votable(answers: Sequence[Generation]) -> str:
    """A sentence on why answers, in display order, cannot be judged; empty when they can.

    Each answer must have ended by itself or at the length limit. An empty answer is valid if it ended by
    itself.
    """
    if len(answers) < 2:
        return "A vote needs at least two answers; compare two or more models."
    if any(not answer.status.is_over for answer in answers):
        return "An answer is still being written; wait for all of them, then vote."
    for letter, answer in zip(LETTERS, answers, strict=False):
        if answer.status is GenerationStatus.FAILED:
            return f"Answer {letter} failed; regenerate it, then vote."
        if answer.status is GenerationStatus.STOPPED:
            return f"Answer {letter} was stopped before its end; regenerate it, then vote."
        if answer.tokens == 0 and not answer.text and not answer.complete:
            return f"Answer {letter} is empty; regenerate it, then vote."
    return ""


def checked_sides(
    choice: Choice, best: int | None, worst: int | None, count: int
) -> tuple[int | None, int | None]:
    """Validate the best and the worst side of a vote on `count` answers. Of two, the best implies the worst.

    Raises:
        InvalidInput: for sides that do not match the choice.
    """
    if choice is not Choice.BEST:
        if best is not None or worst is not None:
            raise InvalidInput("A tie and both bad have no best and no worst answer.", field="choice")
        return None, None
    if count == 2 and best in (0, 1) and worst is None:
        worst = 1 - best
    for field, word, side in (("choice", "best", best), ("worst", "worst", worst)):
        if side not in range(count):
            letters = ", ".join(LETTERS[:count])
            raise InvalidInput(f"Name the {word} answer, one of {letters}.", field=field)
    if best == worst:
        raise InvalidInput("The best and the worst answer must differ.", field="worst")
    return best, worst


def verdict(choice: Choice, best: int | None, worst: int | None, answer_ids: Sequence[int]) -> dict[str, Any]:
    """The columns of a verdict: its choice, and the ids of the best and the worst answer and of all shown.

    Args:
        answer_ids: the answers in display order, which the sides count from 0.

    Raises:
        InvalidInput: for sides that do not match the choice.
    """
    best, worst = checked_sides(choice, best, worst, len(answer_ids))
    return {
        "choice": choice,
        "best_id": None if best is None else answer_ids[best],
        "worst_id": None if worst is None else answer_ids[worst],
        "shown": list(answer_ids),
    }


def checked_reason(reason: str) -> str:
    """Sanitize a reason for storage.

    Raises:
        InvalidInput: when it is too long.
    """
    reason = clean_text(reason).strip()
    if len(reason) > MAX_REASON_CHARS:
        raise InvalidInput(f"The reason has more than {MAX_REASON_CHARS:,} characters.", field="reason")
    return reason
