"""The win rates of all pairs of models that met, with intervals."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from app.evidence.bootstrap import Resample
from app.evidence.games import Floats, Games, Ints
from app.evidence.intervals import share_interval


class PairRates:
    """The win rate of each pair of models that met, as a statistic of the votes.

    Attributes:
        pairs: the pairs' models, each pair once, the smaller index first.
    """

    def __init__(self, games: Games, prompt: Ints, models: int) -> None:
        low, high = np.minimum(games.first, games.second), np.maximum(games.first, games.second)
        codes, at = np.unique(low * models + high, return_inverse=True)
        self.pairs: Sequence[tuple[int, int]] = [divmod(code, models) for code in codes.tolist()]
        score = np.where(games.first == low, games.score, 1 - games.score)
        shape = (len(codes), int(prompt.max()) + 1)
        self._scores = csr_array((score, (at, prompt)), shape=shape)
        self._counts = csr_array((np.ones(len(at)), (at, prompt)), shape=shape)
        self._prompts = np.diff(self._counts.indptr)

    def __call__(self, resample: Resample) -> Floats:
        """The rates of the pairs' first models, shape [replicates, pairs]; NaN in one without their games."""
        weights = resample.weights.T
        with np.errstate(invalid="ignore"):
            rates: Floats = (self._scores @ weights) / (self._counts @ weights)
        return rates.T

    def bounds(self, rates: Floats, samples: Floats) -> tuple[Floats, Floats]:
        """Lower and upper bounds of `rates`, both of its shape, [models, models]; NaN where none is known."""
        low, high = np.full(rates.shape, np.nan), np.full(rates.shape, np.nan)
        for (first, second), drawn, prompts in zip(self.pairs, samples.T, self._prompts, strict=True):
            found = share_interval(float(rates[first, second]), drawn, int(prompts))
            if found is not None:
                low[first, second], high[first, second] = found
                low[second, first], high[second, first] = 1 - found[1], 1 - found[0]
        return low, high
