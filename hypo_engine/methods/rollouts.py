"""Samples that serve several updates: drawn and scored once in a step, then scored again for each update."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hypo_engine.config import TrainConfig
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.decoding.sampling import Response
from hypo_engine.forward.logprobs import TokenLogps
from hypo_engine.forward.phases import phase
from hypo_engine.methods.advantages import Advantages
from hypo_engine.methods.batch import Replay, ScoredResponse
from hypo_engine.methods.losses import penalised_rewards
from hypo_engine.methods.sampler import Sampler, Watch, reward_metrics, score_samples
from hypo_engine.methods.scoring import Scoring
from hypo_engine.models.policy import Policy

CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Rollout:
    """A sampled response with what an update compares with; tensors are [tokens], on the CPU."""

    sample: ScoredResponse
    score: float
    logps: Tensor
    reference_logps: Tensor
    values: Tensor


@dataclass(frozen=True, slots=True)
class Experience:
    """A rollout with its advantages and returns, [tokens] each."""

    rollout: Rollout
    advantages: Tensor
    returns: Tensor


@dataclass(slots=True)
class DrawnBatch:
    """The rollouts of a batch, those of a prompt adjacent, and means over them."""

    rollouts: list[Rollout]
    metrics: dict[str, float]
    sampling_seconds: float
    responses: Sequence[ScoredResponse] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Rollouts:
    """Draws the samples of a step, and replays them.

    Attributes:
        updates: Updates on the samples of a step.
        critic_warmup: Steps in which the policy's weights get no gradient.
    """

    sampler: Sampler
    scoring: Scoring
    advantages: Advantages
    updates: int
    critic_warmup: int

    @classmethod
    def of(cls, config: TrainConfig, sampler: Sampler, scoring: Scoring) -> "Rollouts":
        """The rollouts of a configuration."""
        advantages = Advantages.of(config)
        return cls(sampler, scoring, advantages, config.num_ppo_epochs, config.critic_warmup)

    def draw(self, policy: Policy, batch: Sequence[TokenPair], *, step: int, watch: Watch) -> DrawnBatch:
        """Sample responses and score them with everything that does not change in the step."""
        device = policy.model.device
        with torch.no_grad():
            encode_prompts = partial(policy.encode, [pair.prompt for pair in batch])
            drawn = self.sampler.draw(encode_prompts, batch, step=step, device=device, watch=watch)
        logps, values = (part.detach() for part in self._score(policy, batch, drawn.responses, step))
        rows, answers = self._rows(drawn.responses)
        watch()
        with phase("reference", whole=True), policy.reference() as encode:
            encoded = encode([pair.prompt for pair in batch])
            reference = encoded.score(rows, answers, self.sampler.temperature)
        with phase("scores"):
            scores = self.scoring(batch, drawn.responses, device)
        samples = score_samples(drawn, batch, TokenLogps(logps, reference.mask), reference, scores)
        rewards = penalised_rewards(samples.logps, samples.reference_logps, scores, self.advantages.beta)
        metrics = samples.metrics | reward_metrics(samples, rewards)
        # the updates have surrogates; `loss` reports the objective itself, as RLOO's does
        metrics["loss"] = -metrics["objective/rlhf_reward"]
        tables = [table.to(CPU) for table in (logps, reference.values, values)]
        rollouts = [
            Rollout(sample, score, *(table[row, : len(sample.response.ids)].clone() for table in tables))
            for row, (sample, score) in enumerate(
                zip(samples.responses, scores.flatten().tolist(), strict=True)
            )
        ]
        return DrawnBatch(rollouts, metrics, drawn.seconds, samples.responses)

    def judge(self, rollouts: Sequence[Rollout]) -> list[Experience]:
        """The advantages of all rollouts of a step, which are whitened together."""
        scores = torch.tensor([rollout.score for rollout in rollouts])
        logps, mask = _table([rollout.logps for rollout in rollouts], CPU)
        reference, _ = _table([rollout.reference_logps for rollout in rollouts], CPU)
        values, _ = _table([rollout.values for rollout in rollouts], CPU)
        advantages, returns = self.advantages(logps, reference, values, scores, mask)
        return [
            Experience(rollout, advantages[row][mask[row]], returns[row][mask[row]])
            for row, rollout in enumerate(rollouts)
        ]

    def replay(
        self,
        policy: Policy,
        batch: Sequence[TokenPair],
        kept: Sequence[Experience],
        *,
        step: int,
        mean_tokens: float,
    ) -> Replay:
        """Score kept samples with the policy as it is now.

        Args:
            kept: The same number for each pair, those of a pair adjacent.
            mean_tokens: Mean length of the step's responses.
        """
        device = policy.model.device
        responses = [one.rollout.sample.response for one in kept]
        logps, values = self._score(policy, batch, responses, step)
        old_logps, mask = _table([one.rollout.logps for one in kept], device)
        old_values, _ = _table([one.rollout.values for one in kept], device)
        advantages, _ = _table([one.advantages for one in kept], device)
        returns, _ = _table([one.returns for one in kept], device)
        return Replay(logps, old_logps, values, old_values, advantages, returns, mask, mean_tokens)

    def _score(
        self, policy: Policy, batch: Sequence[TokenPair], responses: Sequence[Response], step: int
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities and values, [responses, tokens], with a graph.

        Drawing and replaying both call this, so that without an update between them the ratio is exactly 1.
        While the critic warms up, the graph begins behind the policy's body.
        """
        assert policy.value_head is not None
        rows, answers = self._rows(responses)
        with torch.set_grad_enabled(step >= self.critic_warmup):
            encoded = policy.encode([pair.prompt for pair in batch])
            logps, hidden = encoded.score_with_hidden(rows, answers, self.sampler.temperature)
        return logps.values, policy.value_head.values(hidden, logps.mask)

    def _rows(self, responses: Sequence[Response]) -> tuple[list[int], list[list[int]]]:
        """The prompt row and the token ids of each response."""
        k = self.sampler.samples_per_prompt
        return [row // k for row in range(len(responses))], [response.ids for response in responses]


def _table(rows: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows of unequal length as one table, zero-padded, and its mask."""
    table = pad_sequence(list(rows), batch_first=True).to(device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return table, torch.arange(table.shape[1], device=device) < lengths[:, None]
