"""Win rate at equal length, in the logistic form of AlpacaEval 2 (Dubois et al. 2024, arXiv 2404.04475)."""

import numpy as np
from scipy.special import expit

from app.evidence.bootstrap import Resample
from app.evidence.games import Floats, Ints

RIDGE = 0.1
"""Weight of phi^2 / 2 in the penalized likelihood. phi stays finite where the longer answer always wins."""

STEPS = 50
LARGEST_STEP = 2.0
TOLERANCE = 1e-8


class LengthControl:
    """P(model wins) = sigma(theta + phi tanh(length / sd)), fitted to the games against the reference.

    AlpacaEval's term for the difficulty of the instruction is left out: it needs the same instructions for
    every model. One tie at equal length is added, which keeps theta finite. Replicates draw its outcome only
    if all scores are equal. Otherwise the resampled votes vary by themselves, and a drawn outcome would widen
    the intervals.

    Attributes:
        prompts: number of prompts of the games.
    """

    def __init__(self, rows: Ints, score: Floats, length: Floats) -> None:
        self._rows = rows
        self._score = score
        self._x: Floats = np.tanh(length / length.std())
        self.prompts = len(np.unique(rows))
        self._unanimous = len(np.unique(score)) == 1
        self._start = np.zeros(2)
        self._start = self._fit(np.ones((1, len(rows))), np.full(1, 0.5))[0]

    @classmethod
    def of(cls, rows: Ints, score: Floats, length: Floats) -> "LengthControl | None":
        """Build the form from arrays of shape [games].

        Args:
            rows: index of each game's prompt.
            score: score of the model.
            length: length of the model's answer minus that of the reference's, in characters.

        Returns:
            None if the lengths do not vary, since nothing can be controlled for.
        """
        return cls(rows, score, length) if len(np.unique(length)) > 1 else None

    def __call__(self, resample: Resample) -> Floats:
        """theta in each replicate, shape [replicates]; sigma(theta) is the win rate at equal length."""
        added = resample.added_outcomes(1)[:, 0] if self._unanimous else np.full(len(resample.weights), 0.5)
        return self._fit(resample.weights[:, self._rows], added)[:, 0]

    def _fit(self, weights: Floats, added: Floats) -> Floats:
        """theta and phi, shape [replicates, 2], by Newton's method.

        Args:
            weights: weight of each game, shape [replicates, games].
            added: outcome of the added game, shape [replicates].
        """
        found = np.tile(self._start, (len(weights), 1))
        for _ in range(STEPS):
            step = self._newton_step(weights, added, found)
            found += np.clip(step, -LARGEST_STEP, LARGEST_STEP)
            if np.abs(step).max(initial=0) < TOLERANCE:
                break
        return found

    def _newton_step(self, weights: Floats, added: Floats, at: Floats) -> Floats:
        theta, phi = at[:, 0], at[:, 1]
        chance = expit(theta[:, None] + phi[:, None] * self._x)
        residual = weights * (self._score - chance)
        weight = weights * chance * (1 - chance)
        level = expit(theta)
        by_theta = residual.sum(axis=1) + added - level
        by_phi = residual @ self._x - RIDGE * phi
        a = weight.sum(axis=1) + level * (1 - level)
        b = weight @ self._x
        c = weight @ self._x**2 + RIDGE
        step = np.stack([c * by_theta - b * by_phi, a * by_phi - b * by_theta], axis=1)
        step /= (a * c - b * b)[:, None]
        return step
