"""Answers under other prompts of the same step, whose log-ratio is KTO's reference point."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.forward.logprobs import Ids
from hypo_engine.forward.phases import phase
from hypo_engine.models.policy import Policy


@dataclass(frozen=True, slots=True)
class RatioSum:
    """The sum of log pi - log ref over a number of answers, in nats."""

    total: float = 0.0
    answers: int = 0

    def __add__(self, other: "RatioSum") -> "RatioSum":
        return RatioSum(self.total + other.total, self.answers + other.answers)

    @property
    def mean(self) -> float:
        """The mean, 0 without answers."""
        return self.total / self.answers if self.answers else 0.0


def mismatched_answers(pairs: Sequence[TokenPair]) -> list[list[Ids]]:
    """For each pair of a step, the answers of others that are scored under its prompt.

    All chosen answers and then all rejected ones stand in a ring, and each answer's predecessor is scored
    under its prompt, as TRL's KTOTrainer does within a batch. A predecessor of the same prompt is left out.
    """
    ring = [(row, pair.chosen) for row, pair in enumerate(pairs) if pair.chosen]
    ring += [(row, pair.rejected) for row, pair in enumerate(pairs) if pair.rejected]
    found: list[list[Ids]] = [[] for _ in pairs]
    for (before, answer), (row, _) in zip([*ring[-1:], *ring[:-1]], ring, strict=True):
        if pairs[before].prompt != pairs[row].prompt:
            found[row].append(answer)
    return found


@torch.no_grad()
def mismatched_ratios(
    policy: Policy, pairs: Sequence[TokenPair], answers: Sequence[Sequence[Ids]]
) -> RatioSum:
    """Log-ratios of ``answers[i]`` under the prompt of ``pairs[i]``, summed."""
    prompts = [pair.prompt for pair, given in zip(pairs, answers, strict=True) if given]
    given = [one for one in answers if one]
    rows = [row for row, one in enumerate(given) for _ in one]
    completions = [answer for one in given for answer in one]
    if not rows:
        return RatioSum()
    with phase("mismatched", whole=True):
        own = policy.encode(prompts).score(rows, completions).sums()
        with policy.reference() as encode:
            reference = encode(prompts).score(rows, completions).sums()
    return RatioSum(float((own - reference).sum()), len(rows))
