"""What an export has written so far, and what it left out."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from app.store.enums import WhyLeftOut


class Unfit(StrEnum):
    """Why a vote has no place in a layout, although it could become a training pair."""

    HIDDEN = "names_hidden"
    NOT_TWO = "more_than_two_answers"


MEANINGS: Final[dict[str, str]] = {
    WhyLeftOut.TIE: "ties prefer neither answer",
    WhyLeftOut.ALL_BAD: "both bad prefers neither answer",
    WhyLeftOut.UNFINISHED: "an answer was stopped or failed before its end",
    WhyLeftOut.DIFFERENT_HISTORIES: "the answers continued different conversations, so they share no prompt",
    WhyLeftOut.SAME_TEXT: "the best and the worst answer are the same text",
    WhyLeftOut.EMPTY: "an answer is empty",
    WhyLeftOut.CUT: "an answer was cut at the length limit",
    Unfit.HIDDEN: "the reader may still judge the comparison blind",
    Unfit.NOT_TWO: "more than two answers were compared at once",
}


@dataclass(slots=True)
class Counts:
    """The counts of an export; complete once all rows were read.

    Attributes:
        cut: rows with an answer that was cut at the length limit.
        hidden: rows without names, because their reader may still judge blind.
        left_out: what has no row, by the name of the reason.
    """

    rows: int = 0
    cut: int = 0
    hidden: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def by_reason(self) -> dict[str, int]:
        """What has no row, by reason; reasons of training pairs are always named."""
        return {**{reason.value: 0 for reason in WhyLeftOut}, **self.left_out}

    def takes(self, *, cut: bool, leave_out_cut: bool) -> bool:
        """Count a row, or leave it out because an answer was cut; returns whether it has a row."""
        if cut and leave_out_cut:
            self.left_out[WhyLeftOut.CUT] += 1
            return False
        self.rows += 1
        self.cut += cut
        return True
