"""Pairs as token ids: a single pair, and all pairs of a dataset in one array. No torch here."""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import overload


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A pair as token ids; completions end with an end token. An answer that the row lacks is empty.

    Attributes:
        source_index: The pair's index in the dataset as given, before pairs were left out.
        weight, margin: As in :class:`hypo_engine.data.pair.Pair`, as far as the run reads them.
    """

    source_index: int
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    weight: float = 1.0
    margin: float = 0.0

    @property
    def length(self) -> int:
        """Tokens of the longer sequence, prompt included."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def tokens(self) -> int:
        """Tokens that are read to score the pair, with the prompt counted once."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected)


@dataclass(frozen=True, slots=True)
class StepMeans:
    """Means over the pairs of a step, with which it is the same however it is divided into batches.

    Attributes:
        tokens: Of the lengths of the chosen answers, by the pairs' weights.
        weight: Of the pairs' weights.
        answers: Of the numbers of the pairs' answers, by the weights.
    """

    tokens: float
    weight: float = 1.0
    answers: float = 2.0

    @classmethod
    def of(cls, weights: Sequence[float], lengths: Sequence[int], answers: Sequence[int]) -> "StepMeans":
        """The means of given weights, lengths and numbers of answers; exact if all weights are equal."""
        alike = len(set(weights)) == 1
        weight = weights[0] if alike else sum(each / len(weights) for each in weights)
        shares = [each / weight for each in weights]
        tokens, number = (
            fmean(share * value for share, value in zip(shares, values, strict=True))
            for values in (lengths, answers)
        )
        return cls(tokens, weight, number)


class TokenPairs(Sequence[TokenPair]):
    """Tokenised pairs at 4 bytes per token; indexing by pair index creates a TokenPair.

    A prompt that several consecutive pairs share is stored once.
    """

    def __init__(self, pairs: Iterable[TokenPair] = ()) -> None:
        self._ids, self._last_prompt = array("i"), array("i")
        self._sources, self._starts = array("q"), array("q")  # offsets of the prompt and of the answers
        self._lengths = array("i")  # lengths of prompt, chosen and rejected
        self._weights, self._margins = array("d"), array("d")
        for pair in pairs:
            self.append(pair)

    def append(self, pair: TokenPair) -> None:
        """Append a pair; it gets the next pair index."""
        prompt = array("i", pair.prompt)
        begin = self._starts[-2] if len(self) and prompt == self._last_prompt else len(self._ids)
        if begin == len(self._ids):
            self._ids.extend(prompt)
            self._last_prompt = prompt
        self._starts.extend((begin, len(self._ids)))
        self._ids.extend(pair.chosen)
        self._ids.extend(pair.rejected)
        self._sources.append(pair.source_index)
        self._lengths.extend((len(prompt), len(pair.chosen), len(pair.rejected)))
        self._weights.append(pair.weight)
        self._margins.append(pair.margin)

    def lengths(self, index: int) -> tuple[int, int, int]:
        """Tokens of a pair's prompt, chosen and rejected completion, without creating the pair."""
        prompt, chosen, rejected = self._lengths[3 * index : 3 * index + 3]
        return prompt, chosen, rejected

    def means(self, indices: Sequence[int]) -> StepMeans:
        """The means over the pairs of a step."""
        answers = [self.lengths(index)[1:] for index in indices]
        return StepMeans.of(
            [self._weights[index] for index in indices],
            [chosen for chosen, _ in answers],
            [bool(chosen) + bool(rejected) for chosen, rejected in answers],
        )

    def weighing(self) -> str:
        """SHA-256 of all weights and margins in hex; empty if no pair has any."""
        if not any(self._margins) and set(self._weights) <= {1.0}:
            return ""
        return hashlib.sha256(repr((self._weights, self._margins)).encode()).hexdigest()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = self._ids, self._sources, self._starts, self._lengths, self._weights, self._margins
        return sum(len(values) * values.itemsize for values in arrays)

    def token_ids(self) -> set[int]:
        """All distinct token ids."""
        return set(self._ids)

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> TokenPair: ...

    @overload
    def __getitem__(self, index: slice) -> list[TokenPair]: ...

    def __getitem__(self, index: int | slice) -> TokenPair | list[TokenPair]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        row = range(len(self))[index]
        begin, answers = self._starts[2 * row : 2 * row + 2]
        prompt, chosen, rejected = self.lengths(row)
        middle = answers + chosen
        return TokenPair(
            self._sources[row],
            self._ids[begin : begin + prompt].tolist(),
            self._ids[answers:middle].tolist(),
            self._ids[middle : middle + rejected].tolist(),
            self._weights[row],
            self._margins[row],
        )
