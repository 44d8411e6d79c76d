"""Counts of what a file holds besides its texts: skipped rows, weights, scores. No torch here."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hypo_engine.data.pair import Pair
from hypo_engine.data.scores import Score
from hypo_engine.data.weights import Mean

MOST_NAMES = 200
MOST_REASONS = 20
REST = "others"


@dataclass(slots=True)
class Account:
    """Counts over the rows of a file.

    Args:
        unused: for each column or message key that is not used, the number of pairs whose rows have a value
            there.
        left_out: number of skipped rows, by reason.
        compared: pairs with scores of both answers; `equal` and `contradicting` count some of them.
        score_columns: the columns compared.
        good, bad: the rows with one answer, by its judgement.
        weights, margins: the pairs with a weight other than 1, and those with a margin.
        remarks: sentences on how the file was read.
    """

    unused: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    equal: int = 0
    contradicting: int = 0
    score_columns: tuple[str, ...] = ()
    good: int = 0
    bad: int = 0
    weights: Mean = field(default_factory=Mean)
    margins: Mean = field(default_factory=Mean)
    remarks: tuple[str, ...] = ()

    def add(self, unused: tuple[str, ...], score: Score | None, pair: Pair) -> None:
        """Count a row that became a pair."""
        for name in unused:
            _count(self.unused, name)
        self.weigh(pair)
        if score is not None:
            self.compared += 1
            self.equal += score.sign == 0
            self.contradicting += score.sign < 0
            self.score_columns = self.score_columns or score.columns

    def weigh(self, pair: Pair) -> None:
        """Count a pair's weight and margin, or a row with one answer."""
        self.good += not pair.rejected
        self.bad += not pair.chosen
        if pair.weight != 1:
            self.weights.add(pair.weight)
        if pair.margin:
            self.margins.add(pair.margin)

    def leave_out(self, reason: str) -> None:
        """Count a row that was skipped."""
        _count(self.left_out, reason)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; the most frequent names and reasons first."""
        return {
            "unused": dict(self.unused.most_common()),
            "left_out": dict(self.left_out.most_common(MOST_REASONS)),
            "scores": {
                "columns": list(self.score_columns),
                "compared": self.compared,
                "equal": self.equal,
                "contradicting": self.contradicting,
            },
            "single": {"good": self.good, "bad": self.bad},
            "weights": asdict(self.weights),
            "margins": asdict(self.margins),
            "remarks": list(self.remarks),
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Account":
        """The inverse of `as_dict`; missing values count as zero."""
        scores = values.get("scores", {})
        return cls(
            unused=Counter(values.get("unused", {})),
            left_out=Counter(values.get("left_out", {})),
            compared=scores.get("compared", 0),
            equal=scores.get("equal", 0),
            contradicting=scores.get("contradicting", 0),
            score_columns=tuple(scores.get("columns", ())),
            good=values.get("single", {}).get("good", 0),
            bad=values.get("single", {}).get("bad", 0),
            weights=Mean(**values.get("weights", {})),
            margins=Mean(**values.get("margins", {})),
            remarks=tuple(values.get("remarks", ())),
        )

    def sentences(self, *, reasons: bool = False) -> list[str]:
        """One sentence per finding; with `reasons`, also why rows were skipped."""
        left_out = [f"Left out: {self.why_left_out()}."] if reasons and self.left_out else []
        said = [*self.remarks, *self.about_single(), *self.about_weights()]
        return [*said, *left_out, *self.about_unused(), *self.about_scores()]

    def about_single(self) -> list[str]:
        """A sentence on the rows with one answer, and on what trains on them."""
        if not self.good + self.bad:
            return []
        return [
            f"One answer instead of two: {_rows(self.good + self.bad)}, {self.good:,} judged good and "
            f"{self.bad:,} bad. KTO trains on all of them, SFT on the good ones, online methods on their "
            "prompts; methods that compare two answers leave them out."
        ]

    def about_weights(self) -> list[str]:
        """A sentence on the weights of the pairs, and one on their margins."""
        found = []
        if self.weights.pairs:
            found.append(f"Weights: {_pairs(self.weights.pairs)}, {self.weights.mean:.3g} on average.")
        if self.margins.pairs:
            found.append(f"Margins: {_pairs(self.margins.pairs)}, {self.margins.mean:.3g} on average.")
        return found

    def about_unused(self) -> list[str]:
        """A sentence on the columns that the pairs do not use."""
        if not self.unused:
            return []
        named = [f"{name} ({_rows(count)})" for name, count in self.unused.most_common()]
        return [f"Not used: {', '.join(named)}."]

    def about_scores(self) -> list[str]:
        """A sentence on whether the file's scores agree with its pairs."""
        columns = " and ".join(self.score_columns)
        of = f"of {self.compared:,} pairs with scores ({columns})"
        found = []
        if self.contradicting:
            found.append(f"In {self.contradicting:,} {of} the rejected answer has the higher score.")
        if self.equal:
            found.append(f"In {self.equal:,} {of} both answers have the same score.")
        return found

    def why_left_out(self, most: int = MOST_REASONS) -> str:
        """The reasons of skipped rows with their counts, the most frequent first."""
        return "; ".join(f"{reason} ({_rows(count)})" for reason, count in self.left_out.most_common(most))


def _count(counts: Counter[str], name: str) -> None:
    counts[name if name in counts or len(counts) < MOST_NAMES else REST] += 1


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _pairs(count: int) -> str:
    return f"{count:,} pair" if count == 1 else f"{count:,} pairs"
