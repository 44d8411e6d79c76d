"""Strengths of models by the model of Bradley and Terry (1952), fitted with evalica."""

import evalica
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from app.evidence.bootstrap import Resample
from app.evidence.games import Floats, Games, Ints

TOLERANCE = 1e-8
LIMIT = 10_000
"""Largest number of evalica's iterations. It needs about ten on a well-connected board."""

STEPS = 50
LARGEST_STEP = 2.0


class Strengths:
    """The strengths of connected models, as a statistic of the votes.

    P(first wins) = 1 / (1 + exp(strength of second - strength of first)). A tie is half a win for each side.

    A model that won or lost all its games has no finite maximum of the likelihood. As many ties as there are
    free strengths, models - 1, are therefore added and spread evenly over the pairs that met. For two models
    this is the correction of Haldane (1956) and Anscombe (1956), log((wins + 1/2) / (losses + 1/2)), and in
    general it is the bias reduction of Firth (1993) with equal leverage of all pairs.

    Args:
        games: games between any models; those outside `rated` are left out.
        prompt: index of each game's prompt, shape [games].
        rated: ascending indices of models that the games connect.
    """

    def __init__(self, games: Games, prompt: Ints, rated: Ints) -> None:
        inside = np.isin(games.first, rated)
        low = np.searchsorted(rated, np.minimum(games.first, games.second)[inside])
        high = np.searchsorted(rated, np.maximum(games.first, games.second)[inside])
        pairs, pair = np.unique(low * len(rated) + high, return_inverse=True)
        score = np.where(games.first < games.second, games.score, 1 - games.score)[inside]
        self._one, self._other = np.divmod(pairs, len(rated))
        self._added = (len(rated) - 1) / len(pairs)
        self._contrast = np.eye(len(rated))[self._one] - np.eye(len(rated))[self._other]
        rows, shape = prompt[inside], (int(prompt.max()) + 1, 2 * len(pairs))
        columns = np.concatenate([pair, pair + len(pairs)])
        values = np.concatenate([score, 1 - score])
        self._scores = csr_array((values, (np.tile(rows, 2), columns)), shape=shape)
        self.fitted = self._fit_votes()

    def __call__(self, resample: Resample) -> Floats:
        """Log-odds against the average rated model, shape [replicates, rated]; the mean is 0.

        Newton's method starts from the strengths of all votes and fits all replicates at once. evalica fits
        one at a time and spends most of its time in pandas.
        """
        wins, losses = np.split(self._totals(resample), 2, axis=1)
        found = np.tile(self.fitted, (len(wins), 1))
        for _ in range(STEPS):
            step = self._newton_step(wins, losses, found)
            found += np.clip(step, -LARGEST_STEP, LARGEST_STEP)
            found -= found.mean(axis=1, keepdims=True)
            if np.abs(step).max() < TOLERANCE:
                break
        return found

    def _totals(self, resample: Resample) -> Floats:
        """Total scores of the first and of the second models of each pair, shape [replicates, 2 * pairs]."""
        outcomes = resample.added_outcomes(len(self._one))
        totals: Floats = resample.weights @ self._scores
        totals += self._added * np.concatenate([outcomes, 1 - outcomes], axis=1)
        return totals

    def _fit_votes(self) -> Floats:
        """Strengths of the votes themselves, shape [rated]."""
        totals = self._totals(Resample(np.ones((1, self._scores.shape[0]))))[0]
        winners = [evalica.Winner.X] * len(self._one) + [evalica.Winner.Y] * len(self._one)
        fitted = evalica.bradley_terry(
            np.tile(self._one, 2).tolist(),
            np.tile(self._other, 2).tolist(),
            winners,
            weights=totals.tolist(),
            tolerance=TOLERANCE,
            limit=LIMIT,
        )
        strengths = np.zeros(self._contrast.shape[1])
        strengths[fitted.scores.index.to_numpy(dtype=np.int64)] = np.log(fitted.scores.to_numpy())
        strengths -= strengths.mean()
        return strengths

    def _newton_step(self, wins: Floats, losses: Floats, at: Floats) -> Floats:
        chance = expit(at @ self._contrast.T)
        gradient = (wins - (wins + losses) * chance) @ self._contrast
        weight = (wins + losses) * chance * (1 - chance)
        outer = self._contrast[:, :, None] * self._contrast[:, None, :]
        information = np.tensordot(weight, outer, axes=1)
        # the information leaves the mean undetermined; a positive constant makes it invertible
        information += weight.mean()
        step: Floats = np.linalg.solve(information, gradient[:, :, None])[:, :, 0]
        return step


def largest_component(counts: Ints) -> Ints:
    """Indices of the models in the largest connected component of the graph of games.

    Args:
        counts: number of games of each pair, shape [models, models], symmetric.

    Returns:
        Ascending indices; of components with equally many models the one with the most games.
    """
    number, labels = connected_components(counts > 0, directed=False)
    members = [np.flatnonzero(labels == label) for label in range(number)]
    return max(members, key=lambda found: (len(found), int(counts[found].sum())))
