"""A model's win rate against the reference, as it is and at equal length of the answers."""

import numpy as np

from app.evidence.bootstrap import Resample
from app.evidence.games import Floats, Games, Ints
from app.evidence.length_control import LengthControl


class Versus:
    """The games of one model against the reference, as a statistic of the votes.

    Attributes:
        games: number of games.
        prompts: number of prompts of these games.
        controlled: the length-controlled form; None where lengths are unknown or do not vary.
    """

    def __init__(self, games: Games, prompt: Ints, model: int, reference: int) -> None:
        met, score, length = games.between(model, reference)
        rows = prompt[met]
        self.games = len(score)
        self._rows, at = np.unique(rows, return_inverse=True)
        self.prompts = len(self._rows)
        self._counts = np.bincount(at).astype(np.float64)
        self._scores = np.bincount(at, weights=score)
        known = ~np.isnan(length)
        self.controlled = LengthControl.of(rows[known], score[known], length[known])

    def __call__(self, resample: Resample) -> Floats:
        """The rate, and theta of the length-controlled form if there is one: shape [replicates, 1 or 2].

        A rate is NaN in a replicate without a game of the two.
        """
        own = resample.weights[:, self._rows]
        with np.errstate(invalid="ignore"):
            rate = (own @ self._scores) / (own @ self._counts)
        columns = [rate] if self.controlled is None else [rate, self.controlled(resample)]
        return np.stack(columns, axis=1)


def versus_reference(games: Games, prompt: Ints, models: int, reference: int) -> dict[int, Versus]:
    """The statistic of each model that met the reference, by the model's index."""
    met = {*games.second[games.first == reference].tolist(), *games.first[games.second == reference].tolist()}
    return {model: Versus(games, prompt, model, reference) for model in range(models) if model in met}
