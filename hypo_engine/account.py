"""What a file held beyond the pairs it became: unused columns, and scores that contradict. No torch here."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypo_engine.scores import Score

MOST_NAMES = 200
REST = "others"


@dataclass(slots=True)
class Account:
    """Counts over the rows that became pairs.

    Args:
        unused: for each column or message key that is not in the pairs, in how many rows it held something.
        compared: rows with scores of both answers, `equal` and `contradicting` among them.
        score_columns: the columns compared.
    """

    unused: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    equal: int = 0
    contradicting: int = 0
    score_columns: tuple[str, ...] = ()

    def add(self, unused: tuple[str, ...], score: Score | None) -> None:
        """Count a row."""
        for name in unused:
            self.unused[name if name in self.unused or len(self.unused) < MOST_NAMES else REST] += 1
        if score is not None:
            self.compared += 1
            self.equal += score.sign == 0
            self.contradicting += score.sign < 0
            self.score_columns = self.score_columns or score.columns

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; the most frequent unused names first."""
        return {
            "unused": dict(self.unused.most_common()),
            "scores": {
                "columns": list(self.score_columns),
                "compared": self.compared,
                "equal": self.equal,
                "contradicting": self.contradicting,
            },
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Account":
        """From what `as_dict` gave."""
        scores = values.get("scores", {})
        return cls(
            unused=Counter(values.get("unused", {})),
            compared=scores.get("compared", 0),
            equal=scores.get("equal", 0),
            contradicting=scores.get("contradicting", 0),
            score_columns=tuple(scores.get("columns", ())),
        )

    def sentences(self) -> list[str]:
        """One sentence for each thing worth knowing."""
        return [*self.about_unused(), *self.about_scores()]

    def about_unused(self) -> list[str]:
        """What the pairs leave aside."""
        if not self.unused:
            return []
        named = [f"{name} ({count:,})" for name, count in self.unused.most_common()]
        return [f"Not used, with the number of rows that hold it: {', '.join(named)}."]

    def about_scores(self) -> list[str]:
        """Whether the file's own scores agree with its pairs."""
        columns = " and ".join(self.score_columns)
        of = f"of {self.compared:,} pairs with scores ({columns})"
        found = []
        if self.contradicting:
            found.append(f"{self.contradicting:,} {of} the rejected answer has the higher score.")
        if self.equal:
            found.append(f"{self.equal:,} {of} both answers have the same score.")
        return [f"In {sentence}" for sentence in found]
