"""What a batch offers to a method, and what the method returns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.decoding.sampling import Response


@dataclass(frozen=True, slots=True)
class PairLogps:
    """Log-probabilities of the pairs' answers, in nats, summed over tokens; every tensor is [pairs].

    What the method does not need is None. An answer that a row lacks has length 0 and log-probability 0.

    Attributes:
        chosen, rejected: Of the policy, with gradient.
        reference_chosen, reference_rejected: Of the reference.
        chosen_tokens, rejected_tokens: Lengths of the answers.
        mean_tokens: Mean length of the chosen answers of the whole step, so that a mean over tokens is the
            same however the step is divided into batches.
        weights: How much each pair counts, divided by the mean of the whole step; None if all count alike.
        answers: Mean number of a pair's answers in the whole step, by the weights.
    """

    chosen: Tensor
    rejected: Tensor | None
    reference_chosen: Tensor | None
    reference_rejected: Tensor | None
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    mean_tokens: float
    weights: Tensor | None = None
    answers: float = 2.0

    @property
    def has_chosen(self) -> Tensor:
        """Which rows have a chosen answer: [pairs], bool."""
        return self.chosen_tokens > 0

    @property
    def has_rejected(self) -> Tensor:
        """Which rows have a rejected answer: [pairs], bool."""
        return self.rejected_tokens > 0


@dataclass(frozen=True, slots=True)
class PairRewards:
    """Rewards of the pairs' answers with gradient, [pairs] each.

    Attributes:
        weights: As in :class:`PairLogps`.
        margins: How much better each chosen answer should be; None if no pair says.
    """

    chosen: Tensor
    rejected: Tensor
    weights: Tensor | None = None
    margins: Tensor | None = None


@dataclass(frozen=True, slots=True)
class ScoredResponse:
    """A sampled response with its summed log-probabilities (nats), and its score if the method needs one."""

    pair: TokenPair
    seed: int
    response: Response
    policy_logp: float
    reference_logp: float
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """Responses of the policy, k for each prompt of the batch.

    Attributes:
        logps: [prompts, k, tokens], with gradient, zero on padding.
        reference_logps: The same shape.
        responses: prompts * k, those of a prompt adjacent.
        metrics: Means over the responses.
        scores: [prompts, k], as the method maximises them; None if it needs none.
    """

    logps: Tensor
    reference_logps: Tensor
    responses: Sequence[ScoredResponse]
    metrics: dict[str, float]
    scores: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Samples of a step, scored again by the policy as it is now; every tensor is [responses, tokens].

    Attributes:
        logps, values: With gradient; ``old_logps`` and ``old_values`` are those of the policy that sampled.
        advantages: How much better a token was than expected.
        returns: What the values should have been.
        mask: True on the responses' tokens.
        mean_tokens: Mean length of all responses of the step, as in :class:`PairLogps`.
    """

    logps: Tensor
    old_logps: Tensor
    values: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor
    mask: Tensor
    mean_tokens: float

    def mean(self, values: Tensor) -> Tensor:
        """The mean over tokens; over a whole step, it is weighted by this batch's share of the responses."""
        return (values * self.mask).sum() / (len(self.mask) * self.mean_tokens)


@dataclass(frozen=True, slots=True)
class Batch:
    """The parts of a batch that the method needs; the others are None.

    Attributes:
        mismatched: Mean of log pi - log ref over answers under other prompts of the whole step.
    """

    pairs: PairLogps | None = None
    samples: Samples | None = None
    rewards: PairRewards | None = None
    replay: Replay | None = None
    mismatched: float | None = None


@dataclass(slots=True)
class MethodLoss:
    """The loss of a batch (a scalar with gradient, a mean over its prompts), and metrics, which are means.

    Attributes:
        counts: Over how many values a metric is the mean, if not over the prompts.
    """

    loss: Tensor
    metrics: dict[str, float]
    counts: dict[str, int] = field(default_factory=dict)


class BatchLoss(Protocol):
    """A method: the loss of a batch, and the values of held-out pairs."""

    def __call__(self, batch: Batch) -> MethodLoss:
        """Compute the loss of a batch."""

    def held_out(self, batch: Batch) -> dict[str, Tensor]:
        """Values of held-out pairs by metric, of each pair or answer that has one; ``loss`` is its own."""
