"""Rules of counting votes: what a vote counts for, and whether it becomes a training pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.store.enums import AspectChoice, Choice, GenerationStatus, Outcome, WhyLeftOut

RULES = 4
"""Version of the counting rules. Increment it whenever a vote would be counted differently."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The fields of an answer that matter for counting."""

    id: int
    position: int
    prompt_id: int
    text: str
    complete: bool
    ended: bool
    """Whether it ended by itself or at the length limit. Stopped and failed answers are not counted."""

    @classmethod
    def of(cls, row: Any) -> "Answer":
        """Create from a generation, or from a row with its columns."""
        ended = row.status is GenerationStatus.FINISHED
        return cls(row.id, row.position or 0, row.prompt_id, row.text, row.complete, ended)


@dataclass(frozen=True, slots=True)
class Cast:
    """The fields of a vote that matter for counting: its choice, its answers and its conversation."""

    choice: Choice
    best_id: int | None
    worst_id: int | None
    shown: Sequence[int]
    conversation_id: int
    open: bool
    """Whether the conversation is not blind."""
    aspects: Mapping[str, int | str] = field(default_factory=dict)
    """For each aspect that was asked, the best answer's id or the value of an `AspectChoice`."""

    def of_aspects(self) -> dict[str, "Cast"]:
        """The vote's verdict on each aspect, as a vote of its own. Those that do not apply are left out."""
        return {
            name: replace(
                self,
                choice=Choice.TIE if isinstance(said, str) else Choice.BEST,
                best_id=None if isinstance(said, str) else said,
                worst_id=None,
            )
            for name, said in self.aspects.items()
            if said != AspectChoice.NOT_APPLICABLE
        }


def why_left_out(choice: Choice, best: Answer | None, worst: Answer | None) -> WhyLeftOut | None:
    """Why a vote does not become a training pair; None if it does."""
    if choice is Choice.TIE:
        return WhyLeftOut.TIE
    if choice is Choice.ALL_BAD or best is None or worst is None:
        return WhyLeftOut.ALL_BAD
    if not best.ended or not worst.ended:
        return WhyLeftOut.UNFINISHED
    if best.prompt_id != worst.prompt_id:
        return WhyLeftOut.DIFFERENT_HISTORIES
    if not best.text.strip() or not worst.text.strip():
        return WhyLeftOut.EMPTY
    if best.text.strip() == worst.text.strip():
        return WhyLeftOut.SAME_TEXT
    return None


def outcome_of(
    choice: Choice, best_id: int | None, worst_id: int | None, one: int, other: int
) -> Outcome | None:
    """The outcome of a vote for two of its answers: the best beats all others, all others beat the worst."""
    if choice is Choice.TIE:
        return Outcome.TIE
    if choice is Choice.ALL_BAD:
        return Outcome.ALL_BAD
    if one == best_id or other == worst_id:
        return Outcome.FIRST
    if other == best_id or one == worst_id:
        return Outcome.SECOND
    return None


def facts_of(cast: Cast, answers: Mapping[int, Answer]) -> dict[str, Any]:
    """The derived columns of a vote's row."""
    best = None if cast.best_id is None else answers.get(cast.best_id)
    worst = None if cast.worst_id is None else answers.get(cast.worst_id)
    first_side = longer = None
    cut = False
    if best is not None and worst is not None and best.ended and worst.ended:
        cut = not (best.complete and worst.complete)
        if len(cast.shown) == 2:
            first_side = best.id == cast.shown[0]
        if len(best.text) != len(worst.text):
            longer = len(best.text) > len(worst.text)
    return {
        "first_side": first_side,
        "longer": longer,
        "left_out": why_left_out(cast.choice, best, worst),
        "cut": cut,
        "open": cast.open,
        "counted": RULES,
    }
