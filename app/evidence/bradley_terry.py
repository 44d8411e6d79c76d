"""Strengths of models by the model of Bradley and Terry (1952), fitted with evalica."""

import evalica
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from app.evidence.games import Floats, Games, Ints

TOLERANCE = 1e-8
LIMIT = 10_000
"""Largest number of iterations. Newman's iteration needs about ten on a well-connected board."""


class Strengths:
    """The strengths of connected models, as a statistic of the prompts' weights.

    P(first wins) = 1 / (1 + exp(strength of second - strength of first)). A tie is half a win for each side.

    A model that won or lost all its games has no finite maximum of the likelihood. As many ties as there are
    free strengths, models - 1, are therefore added and spread evenly over the pairs that met. For two models
    this is the correction of Haldane (1956) and Anscombe (1956), log((wins + 1/2) / (losses + 1/2)), and in
    general it is the bias reduction of Firth (1993) with equal leverage of all pairs.

    Args:
        games: games between any models; those outside `rated` are left out.
        prompt: row of each game's prompt in the weights, shape [games].
        rated: ascending indices of models that the games connect.
    """

    def __init__(self, games: Games, prompt: Ints, rated: Ints) -> None:
        self.rated = rated
        inside = np.isin(games.first, rated)
        low = np.searchsorted(rated, np.minimum(games.first, games.second)[inside])
        high = np.searchsorted(rated, np.maximum(games.first, games.second)[inside])
        pairs, pair = np.unique(low * len(rated) + high, return_inverse=True)
        score = np.where(games.first < games.second, games.score, 1 - games.score)[inside]
        one, other = (indices.tolist() for indices in np.divmod(pairs, len(rated)))
        self._xs, self._ys = one + one, other + other
        self._winners = [evalica.Winner.X] * len(pairs) + [evalica.Winner.Y] * len(pairs)
        self._half_tie = (len(rated) - 1) / len(pairs) / 2
        rows, shape = prompt[inside], (int(prompt.max()) + 1, 2 * len(pairs))
        columns = np.concatenate([pair, pair + len(pairs)])
        values = np.concatenate([score, 1 - score])
        self._scores = csr_array((values, (np.tile(rows, 2), columns)), shape=shape)

    def __call__(self, weights: Floats) -> Floats:
        """Natural log of the odds against the average rated model, shape [replicates, rated]; each mean is 0.

        Args:
            weights: weight of each prompt in each replicate, shape [replicates, prompts].
        """
        return np.stack([self._fit(scores) for scores in weights @ self._scores])

    def _fit(self, scores: Floats) -> Floats:
        fitted = evalica.bradley_terry(
            self._xs,
            self._ys,
            self._winners,
            weights=(scores + self._half_tie).tolist(),
            tolerance=TOLERANCE,
            limit=LIMIT,
        )
        logs = np.log(fitted.scores.reindex(range(len(self.rated))).to_numpy(dtype=np.float64))
        centred: Floats = logs - logs.mean()
        return centred


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
