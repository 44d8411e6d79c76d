"""Votes between two models as arrays, and their totals for each pair of models."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Games:
    """Votes between two models. All arrays have the shape [games].

    A tie and "both bad" score 0.5, as Chatbot Arena counts them (Chiang et al. 2024, arXiv 2403.04132).

    Raises:
        ValueError: the arrays differ in length, a score is outside 0 to 1, or a model plays itself.
    """

    prompt: Ints
    """Any number that identifies the prompt; games with the same prompt are resampled together."""
    first: Ints
    """Index of the first model."""
    second: Ints
    """Index of the second model."""
    score: Floats
    """1 if first wins, 0 if second wins, 0.5 for a tie or both bad."""
    length: Floats
    """Length of first's answer minus the length of second's, in characters; NaN where unknown."""

    def __post_init__(self) -> None:
        if len({len(column) for column in self.columns}) != 1:
            raise ValueError("the arrays of games differ in length")
        if not np.all((self.score >= 0) & (self.score <= 1)):
            raise ValueError("a score is outside 0 to 1")
        if np.any(self.first == self.second):
            raise ValueError("a model plays itself")

    def __len__(self) -> int:
        return len(self.score)

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        return self.prompt, self.first, self.second, self.score, self.length

    def between(self, model: int, other: int) -> tuple[NDArray[np.bool_], Floats, Floats]:
        """The games between two models: a mask of shape [games], and score and length seen from `model`."""
        forward = (self.first == model) & (self.second == other)
        met = forward | ((self.first == other) & (self.second == model))
        own = forward[met]
        score = np.where(own, self.score[met], 1 - self.score[met])
        return met, score, np.where(own, self.length[met], -self.length[met])


def totals(games: Games, models: int) -> tuple[Ints, Floats]:
    """Number of games, and total score of the row's model, both of shape [models, models]."""
    counts = np.zeros((models, models), dtype=np.int64)
    wins = np.zeros((models, models))
    for one, other, score in (
        (games.first, games.second, games.score),
        (games.second, games.first, 1 - games.score),
    ):
        np.add.at(counts, (one, other), 1)
        np.add.at(wins, (one, other), score)
    return counts, wins
