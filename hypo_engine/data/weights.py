"""The weight and the margin of a row's pair, from the columns of these names. No torch here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hypo_engine.data.columns import columns_of
from hypo_engine.data.rows import Row, RowError

WEIGHT: Final = "weight"
MARGIN: Final = "margin"


def weight_and_margin(row: Row, taken: Sequence[str] = (), *, margins: bool = True) -> tuple[float, float]:
    """The weight of a row's pair, 1 if the row has none, and its margin, 0 if it has none.

    Args:
        taken: columns that a mapping reads as something else.
        margins: whether the row's margin is that of the chosen answer. Where a column names the winner, a
            margin may be that of the first answer.

    Raises:
        RowError: the weight is no finite number above 0, or the margin none from 0.
    """
    column, weight = _number(row, WEIGHT, taken)
    if weight is not None and not 0 < weight < math.inf:
        raise RowError(
            f"{column} must be a number above 0; correct it, or give the column another name if it means "
            "something else"
        )
    column, margin = _number(row, MARGIN, taken) if margins else ("", None)
    if margin is not None and not 0 <= margin < math.inf:
        raise RowError(
            f"{column} must be a number of 0 or more; correct it, or give the column another name if it "
            "means something else"
        )
    return 1.0 if weight is None else weight, margin or 0.0


def _number(row: Row, name: str, taken: Sequence[str]) -> tuple[str, float | None]:
    """A column and its number, NaN if its value is none; None if it is empty or missing."""
    column = next((column for column in columns_of(row, (name,)) if column not in taken), "")
    if not column or not row.holds(column):
        return column, None
    value = row[column]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return column, math.nan
    try:
        return column, float(value)
    except (ValueError, OverflowError):
        return column, math.nan


@dataclass(slots=True)
class Mean:
    """The mean of the pairs that have a value; 0 without any."""

    pairs: int = 0
    mean: float = 0.0

    def add(self, value: float) -> None:
        """Count a pair's value."""
        self.pairs += 1
        self.mean += (value - self.mean) / self.pairs
