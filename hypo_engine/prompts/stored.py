"""The stored answers of pairs as completions to score, and their scores by pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.forward.logprobs import Ids


@dataclass(frozen=True)
class StoredAnswers:
    """All chosen answers, then all rejected ones; a row without an answer has none to score.

    Attributes:
        pairs: Number of pairs.
        chosen, rejected: The pairs whose answer is scored; ``rows`` is both in a row.
        completions: Their answers, in the order of ``rows``.
    """

    pairs: int
    chosen: list[int]
    rejected: list[int]
    completions: list[Ids]

    @classmethod
    def of(cls, pairs: Sequence[TokenPair], *, chosen: bool = True, rejected: bool = True) -> "StoredAnswers":
        """The answers of the pairs, without those of a side that is not wanted."""
        good = [row for row, pair in enumerate(pairs) if chosen and pair.chosen]
        bad = [row for row, pair in enumerate(pairs) if rejected and pair.rejected]
        completions: list[Ids] = [*(pairs[row].chosen for row in good), *(pairs[row].rejected for row in bad)]
        return cls(len(pairs), good, bad, completions)

    @property
    def rows(self) -> list[int]:
        """The pair of each completion."""
        return self.chosen + self.rejected

    def by_pair(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """The scores of the chosen and of the rejected answers, [pairs] each; 0 where there is no answer."""
        return (
            self._spread(sums[: len(self.chosen)], self.chosen),
            self._spread(sums[len(self.chosen) :], self.rejected),
        )

    def _spread(self, sums: Tensor, rows: list[int]) -> Tensor:
        if len(rows) == self.pairs:
            return sums
        index = torch.tensor(rows, dtype=torch.long, device=sums.device)
        return sums.new_zeros(self.pairs).index_copy(0, index, sums)
