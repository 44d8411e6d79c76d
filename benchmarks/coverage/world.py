"""Simulated votes with known strengths, ties, side bias, length bias, several voters and shared prompts."""

from dataclasses import dataclass

import numpy as np

from app.evidence import Games

LENGTH_SCALE = 400.0
"""Characters at which a difference of lengths has most of its effect on a voter."""


@dataclass(frozen=True, slots=True)
class World:
    """How answers and votes arise.

    A voter prefers the first answer by strength + effect of prompt and answer + length bias + side bias +
    logistic noise, first minus second. A preference within the threshold is a tie (Rao and Kupper 1967).
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
    """Each voter's log-odds in favour of a much longer answer."""
    tie_threshold: float = 0.4

    @property
    def models(self) -> int:
        return len(self.strengths)

    @property
    def reference(self) -> int:
        return self.models - 1

    def draw(self, generator: np.random.Generator) -> Games:
        """Votes on new prompts. Each vote compares two models that are drawn at random."""
        votes = generator.geometric(1 / (1 + self.further_votes), size=self.prompts)
        prompt = np.repeat(np.arange(self.prompts), votes)
        answers = (self.prompts, self.models)
        quality = np.array(self.strengths) + self.prompt_effect * generator.standard_normal(answers)
        length = np.array(self.lengths) * generator.lognormal(0.0, 0.4, answers)
        first = generator.integers(0, self.models, len(prompt))
        second = (first + generator.integers(1, self.models, len(prompt))) % self.models
        voter = generator.integers(0, len(self.side_bias), len(prompt))
        left = generator.choice([-1.0, 1.0], len(prompt))
        longer = length[prompt, first] - length[prompt, second]
        preference = (
            quality[prompt, first]
            - quality[prompt, second]
            + np.array(self.side_bias)[voter] * left
            + np.array(self.length_bias)[voter] * np.tanh(longer / LENGTH_SCALE)
            + generator.logistic(size=len(prompt))
        )
        score = np.where(np.abs(preference) < self.tie_threshold, 0.5, (preference > 0).astype(float))
        return Games(prompt, first, second, score, longer)
