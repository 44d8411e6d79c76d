"""Simulated votes with known strengths, ties, side bias, length bias, several voters and shared prompts."""

from dataclasses import dataclass

import numpy as np

from app.evidence import Games
from app.evidence.games import Floats

LENGTH_SCALE = 400.0
"""Characters at which a difference of lengths has most of its effect on a voter."""


@dataclass(frozen=True, slots=True)
class World:
    """How answers and votes arise.

    A voter values an answer by strength + effect of prompt and answer + length bias + side bias + Gumbel
    noise, so the difference of two has logistic noise. The vote names the best and the worst. If they differ
    by less than the threshold, it is a tie (Rao and Kupper 1967).
    """

    strengths: tuple[float, ...] = (0.6, 0.2, -0.1, -0.7)
    """Log-odds of each model; the last is the reference."""
    lengths: tuple[float, ...] = (900.0, 700.0, 500.0, 500.0)
    """Mean characters of each model's answers."""
    prompts: int = 100
    further_votes: float = 4.0
    """Mean number of votes on a prompt beyond the first, geometrically distributed."""
    prompt_effect: float = 0.6
    """Standard deviation of the quality of one answer around its model's strength; all voters share it."""
    side_bias: tuple[float, ...] = (0.0, 0.2, 0.5)
    """Each voter's log-odds in favour of the answer on the left."""
    length_bias: tuple[float, ...] = (0.8, 0.2, 0.5)
    """Each voter's log-odds in favour of the longer of two answers, if it is much longer."""
    tie_threshold: float = 0.4
    contenders: int = 2
    """Answers that one vote compares."""

    @property
    def models(self) -> int:
        return len(self.strengths)

    @property
    def reference(self) -> int:
        return self.models - 1

    def draw(self, generator: np.random.Generator) -> Games:
        """Votes on new prompts. Each vote compares models that are drawn at random."""
        votes = generator.geometric(1 / (1 + self.further_votes), size=self.prompts)
        prompt = np.repeat(np.arange(self.prompts), votes)
        answers = (self.prompts, self.models)
        quality = np.array(self.strengths) + self.prompt_effect * generator.standard_normal(answers)
        length = np.array(self.lengths) * generator.lognormal(0.0, 0.4, answers)
        shown = generator.random((len(prompt), self.models)).argsort(axis=1)[:, : self.contenders]
        voter = generator.integers(0, len(self.side_bias), len(prompt))
        characters = length[prompt[:, None], shown]
        others = (characters.sum(axis=1, keepdims=True) - characters) / (self.contenders - 1)
        preference = quality[prompt[:, None], shown] + generator.gumbel(size=shown.shape)
        preference[:, 0] += np.array(self.side_bias)[voter]
        longer = np.tanh((characters - others) / LENGTH_SCALE)
        preference += np.array(self.length_bias)[voter, None] / 2 * longer
        score = self._scores(preference)
        game, one, other = np.nonzero(~np.isnan(score))
        return Games(
            prompt[game],
            shown[game, one],
            shown[game, other],
            score[game, one, other],
            characters[game, one] - characters[game, other],
        )

    def _scores(self, preference: Floats) -> Floats:
        """Score of one answer against another, shape [votes, one, other]; NaN unless one < other.

        The best answer beats all others, and all others beat the worst; NaN where neither decides.
        """
        rank = preference.argsort(axis=1).argsort(axis=1)
        one, other = rank[:, :, None], rank[:, None, :]
        last = self.contenders - 1
        score = np.where((one == last) | (other == 0), 1.0, np.nan)
        score[(other == last) | (one == 0)] = 0.0
        score[np.ptp(preference, axis=1) < self.tie_threshold] = 0.5
        score[:, ~np.triu(np.ones((self.contenders, self.contenders), dtype=bool), 1)] = np.nan
        return score
