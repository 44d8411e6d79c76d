"""The objective of a batch: provides the parts that the method needs, and applies the method.

A method is a file in this folder, a line in :data:`METHODS`, and a name with its needs in
:class:`hypo_engine.choices.Method`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from hypo_engine.config import Method, Need, TrainConfig
from hypo_engine.data.token_pairs import StepMeans, TokenPair
from hypo_engine.decoding.vllm_rollout import VllmRollout
from hypo_engine.forward.logprobs import Ids, TokenLogps
from hypo_engine.forward.phases import phase
from hypo_engine.methods.batch import Batch, BatchLoss, PairLogps, PairRewards, ScoredResponse
from hypo_engine.methods.dpo import make_dpo
from hypo_engine.methods.hypo import make_hypo
from hypo_engine.methods.kto import make_kto
from hypo_engine.methods.mismatch import mismatched_answers, mismatched_ratios
from hypo_engine.methods.online_dpo import make_online_dpo
from hypo_engine.methods.ppo import make_ppo
from hypo_engine.methods.reward import make_reward
from hypo_engine.methods.rloo import make_rloo
from hypo_engine.methods.rollouts import Experience, Rollouts
from hypo_engine.methods.sampler import Drawn, Sampler, Watch, score_samples
from hypo_engine.methods.scoring import ScoreResponses, Scoring
from hypo_engine.methods.sft import make_sft
from hypo_engine.models.policy import Policy
from hypo_engine.prompts.encoder import Encoded
from hypo_engine.prompts.stored import StoredAnswers
from hypo_engine.reference.scores import ReferenceCache

METHODS: Final[Mapping[Method, Callable[[TrainConfig], BatchLoss]]] = {
    Method.DPO: make_dpo,
    Method.HYPO: make_hypo,
    Method.KTO: make_kto,
    Method.REWARD: make_reward,
    Method.RLOO: make_rloo,
    Method.PPO: make_ppo,
    Method.ONLINE_DPO: make_online_dpo,
    Method.SFT: make_sft,
}


@dataclass(slots=True)
class BatchResult:
    """The result of a batch: the loss (mean over its pairs, with autograd), metrics (means), and samples.

    Attributes:
        counts: As in :class:`.batch.MethodLoss`.
    """

    loss: Tensor
    metrics: dict[str, float]
    responses: Sequence[ScoredResponse] = field(default_factory=list)
    sampling_seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """The loss of one batch.

    Attributes:
        method: The loss, a function of the batch's parts.
        needs: The parts that it reads.
        sampler: Draws the samples; None if the method needs none.
        scoring: Scores the samples; None if the method needs no scores.
        rollouts: Draws samples for several updates; None if a step makes one update on new samples.
    """

    method: BatchLoss
    needs: frozenset[Need]
    sampler: Sampler | None
    scoring: Scoring | None = None
    rollouts: Rollouts | None = None

    def __call__(
        self,
        policy: Policy,
        batch: Sequence[TokenPair],
        *,
        step: int,
        reference: ReferenceCache | None,
        pair_indices: Sequence[int],
        watch: Watch,
        means: StepMeans | None = None,
        mismatched: float | None = None,
    ) -> BatchResult:
        """Compute the loss of a batch with policy and reference.

        Args:
            step: The optimiser step, which seeds the samples.
            reference: Cached reference scores of the pairs; if None, they are computed here.
            pair_indices: Pair indices of the batch, the keys of the cache.
            watch: Called often; may raise to abandon the batch.
            means: Over the pairs of the whole step; None takes the batch's.
            mismatched: As in :class:`.batch.Batch`; None takes the batch's.
        """
        device = policy.model.device
        means = means or means_of(batch)
        prefix = policy.encode([pair.prompt for pair in batch])
        drawn = Drawn()
        if self.sampler:
            drawn = self.sampler.draw(lambda: prefix, batch, step=step, device=device, watch=watch)
        if Need.REWARDS in self.needs:
            rewards = pair_rewards(policy, prefix, batch, means.weight)
            found = self.method(Batch(rewards=rewards))
            return BatchResult(found.loss, found.metrics)
        completions = self._completions(answers := self._stored(batch), drawn)
        logps = completions.score(prefix, since=0, device=device)
        watch()

        compares = Need.REFERENCE in self.needs
        cached = reference.get(pair_indices, device) if compares and reference else None
        stored = len(answers.completions)
        since = stored if cached or not compares else 0
        reference_logps = TokenLogps(logps.values[:0], logps.mask[:0])
        if since < len(completions.rows):
            with phase("reference", whole=True), policy.reference() as encode:
                reference_logps = completions.score(
                    encode([p.prompt for p in batch]), since=since, device=device
                )
        if compares and cached is None:
            cached = answers.by_pair(reference_logps.sums()[:stored])

        samples = None
        pairs = self._pair_logps(batch, answers, logps.rows(slice(0, stored)).sums(), cached, means)
        if self.sampler:
            own, held = logps.rows(slice(stored, None)), reference_logps.rows(slice(stored - since, None))
            scores = self._scores(batch, drawn, device)
            samples = score_samples(drawn, batch, own, held, scores)
        point = self._mismatched(policy, batch) if mismatched is None else mismatched
        found = self.method(Batch(pairs, samples, mismatched=point))
        metrics = found.metrics | (samples.metrics if samples else {})
        responses = samples.responses if samples else []
        return BatchResult(found.loss, metrics, responses, drawn.seconds, found.counts)

    def running(self) -> AbstractContextManager[None]:
        """A scope in which batches can be computed: it runs the program that samples, if there is one."""
        vllm = self.sampler.vllm if self.sampler else None
        return vllm.running() if vllm else nullcontext()

    @property
    def updates(self) -> int:
        """Optimiser updates in one step."""
        return self.rollouts.updates if self.rollouts else 1

    def replayed(
        self,
        policy: Policy,
        batch: Sequence[TokenPair],
        kept: Sequence[Experience],
        *,
        step: int,
        mean_tokens: float,
    ) -> BatchResult:
        """Compute the loss of a batch on kept samples; arguments as in :meth:`.rollouts.Rollouts.replay`."""
        assert self.rollouts is not None
        replay = self.rollouts.replay(policy, batch, kept, step=step, mean_tokens=mean_tokens)
        found = self.method(Batch(replay=replay))
        return BatchResult(found.loss, found.metrics)

    def _scores(self, batch: Sequence[TokenPair], drawn: Drawn, device: torch.device) -> Tensor | None:
        if self.scoring is None:
            return None
        with phase("scores"):
            return self.scoring(batch, drawn.responses, device)

    def _mismatched(self, policy: Policy, batch: Sequence[TokenPair]) -> float | None:
        if Need.MISMATCHED not in self.needs:
            return None
        return mismatched_ratios(policy, batch, mismatched_answers(batch)).mean

    def _stored(self, batch: Sequence[TokenPair]) -> StoredAnswers:
        """The stored answers that the method needs."""
        return StoredAnswers.of(batch, chosen=Need.CHOSEN in self.needs, rejected=Need.REJECTED in self.needs)

    def _completions(self, stored: StoredAnswers, drawn: Drawn) -> "_Completions":
        """The stored and the sampled answers, as far as they are needed."""
        rows, completions = list(stored.rows), list(stored.completions)
        temperatures = [1.0] * len(rows)
        if self.sampler:
            rows += (row // self.sampler.samples_per_prompt for row in range(len(drawn.responses)))
            completions += (response.ids for response in drawn.responses)
            temperatures += [self.sampler.temperature] * len(drawn.responses)
        return _Completions(rows, completions, temperatures)

    def _pair_logps(
        self,
        batch: Sequence[TokenPair],
        answers: StoredAnswers,
        sums: Tensor,
        reference: tuple[Tensor, Tensor] | None,
        means: StepMeans,
    ) -> PairLogps | None:
        """The log-probabilities of the pairs, from those of their stored answers."""
        if not len(sums):
            return None
        chosen, rejected = answers.by_pair(sums)
        return pair_logps(batch, chosen, rejected if Need.REJECTED in self.needs else None, reference, means)


def pair_logps(
    batch: Sequence[TokenPair],
    chosen: Tensor,
    rejected: Tensor | None,
    reference: tuple[Tensor, Tensor] | None,
    means: StepMeans | None = None,
) -> PairLogps:
    """Combine log-probabilities with the lengths of the answers and the weights of the pairs.

    Args:
        means: Over the pairs of the whole step; None takes the batch's own.
    """
    means = means or means_of(batch)
    reference_chosen, reference_rejected = reference or (None, None)
    return PairLogps(
        chosen,
        rejected,
        reference_chosen,
        reference_rejected,
        chosen.new_tensor([len(pair.chosen) for pair in batch]),
        chosen.new_tensor([len(pair.rejected) for pair in batch]),
        means.tokens,
        _weights(batch, means.weight, chosen),
        means.answers,
    )


def pair_rewards(
    policy: Policy, encoded: Encoded, batch: Sequence[TokenPair], mean_weight: float = 1.0
) -> PairRewards:
    """The rewards of the pairs' answers, with the weights and margins of the pairs."""
    rows = range(len(batch))
    answers = [*(pair.chosen for pair in batch), *(pair.rejected for pair in batch)]
    rewards = policy.rewards(encoded, [*rows, *rows], answers)
    margins = [pair.margin for pair in batch]
    return PairRewards(
        rewards[: len(batch)],
        rewards[len(batch) :],
        _weights(batch, mean_weight, rewards),
        rewards.new_tensor(margins) if any(margins) else None,
    )


def means_of(batch: Sequence[TokenPair]) -> StepMeans:
    """The means over the pairs of a batch that is a whole step."""
    return StepMeans.of(
        [pair.weight for pair in batch],
        [len(pair.chosen) for pair in batch],
        [bool(pair.chosen) + bool(pair.rejected) for pair in batch],
    )


def _weights(batch: Sequence[TokenPair], mean_weight: float, like: Tensor) -> Tensor | None:
    """How much each pair counts, as in :class:`PairLogps`."""
    weights = [pair.weight / mean_weight for pair in batch]
    return like.new_tensor(weights) if any(weight != 1 for weight in weights) else None


def make_objective(
    config: TrainConfig,
    *,
    max_new_tokens: int,
    stop_ids: frozenset[int],
    score: ScoreResponses | None = None,
    score_std: float = 1.0,
    vllm: VllmRollout | None = None,
) -> Objective:
    """Make the objective of a configuration's method.

    Args:
        score: Scores responses; required by methods that need scores.
        score_std: Standard deviation of the scores of the reference's own answers.
        vllm: Draws the samples in place of the engine's own decoder.
    """
    sampler = Sampler.of(config, max_new_tokens=max_new_tokens, stop_ids=stop_ids, vllm=vllm)
    method = METHODS[config.method](config)
    scoring, rollouts = None, None
    if Need.SCORES in config.needs:
        assert score is not None
        scoring = Scoring.of(config, score, std=score_std)
        if Need.VALUES in config.needs:
            rollouts = Rollouts.of(config, sampler, scoring)
    return Objective(method, config.needs, sampler if config.samples_online else None, scoring, rollouts)


@dataclass(frozen=True)
class _Completions:
    """The completions to score, each with its prompt row and temperature."""

    rows: list[int]
    completions: list[Ids]
    temperatures: list[float]

    def score(self, encoded: Encoded, *, since: int, device: torch.device) -> TokenLogps:
        temperature = torch.tensor(self.temperatures[since:], device=device)[:, None]
        return encoded.score(self.rows[since:], self.completions[since:], temperature)
