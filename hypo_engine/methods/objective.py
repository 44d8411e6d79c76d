"""The objective of a batch of pairs: DPO's loss, and HyPO's KL penalty on the policy's samples.

The method is resolved once, in :func:`make_objective`: DPO is the objective without an online part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from hypo_engine.config import KLEstimator, TrainConfig
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.decoding.protocol import Decoding
from hypo_engine.decoding.sampling import Choice, Response, sample_responses
from hypo_engine.forward.logprobs import TokenLogps
from hypo_engine.forward.phases import phase
from hypo_engine.methods.losses import (
    LOSSES,
    PreferenceLoss,
    preference_loss,
    reward_to_go_kl_loss,
    sequence_kl_loss,
)
from hypo_engine.models.policy import Policy
from hypo_engine.prompts.encoder import Encoded
from hypo_engine.reference.scores import ReferenceCache
from hypo_engine.seeds import derive_seed

_KL_LOSSES = {KLEstimator.SEQUENCE: sequence_kl_loss, KLEstimator.REWARD_TO_GO: reward_to_go_kl_loss}


@dataclass(frozen=True, slots=True)
class ScoredResponse:
    """A sampled response with its summed log-probabilities (nats)."""

    pair: TokenPair
    seed: int
    response: Response
    policy_logp: float
    reference_logp: float


@dataclass(slots=True)
class BatchResult:
    """The result of a batch: the loss (mean over its pairs, with autograd), metrics (means), and samples."""

    loss: Tensor
    metrics: dict[str, float]
    responses: list[ScoredResponse] = field(default_factory=list)
    sampling_seconds: float = 0.0


@dataclass(frozen=True)
class Online:
    """HyPO's online part: sampling responses, and the KL penalty on them."""

    samples_per_prompt: int
    temperature: float
    max_new_tokens: int
    kl_coef: float
    kl_loss: Callable[[Tensor, Tensor], Tensor]
    stop_ids: frozenset[int]
    seed: int

    def seeds(self, batch: Sequence[TokenPair], step: int) -> list[int]:
        """One seed per response, a function of (seed, step, pair, sample)."""
        k = self.samples_per_prompt
        return [
            derive_seed("online", self.seed, step, pair.source_index, sample)
            for pair in batch
            for sample in range(k)
        ]

    def decoding(self, encoded: Encoded, seeds: Sequence[int]) -> Decoding:
        """Start decoding k responses per prompt; those of a prompt are adjacent."""
        rows = [row // self.samples_per_prompt for row in range(len(seeds))]
        return encoded.decoding(rows, self.max_new_tokens)

    def sample(
        self, decoding: Decoding, seeds: Sequence[int], device: torch.device, watch: Callable[[], None]
    ) -> list[Response]:
        """Sample one response per seed."""

        def on_token(_row: int, _token: int) -> bool:
            watch()
            return False

        return sample_responses(
            decoding,
            seeds=seeds,
            choice=Choice.same(len(seeds), device, temperature=self.temperature),
            max_new_tokens=[self.max_new_tokens] * len(seeds),
            stop_ids=self.stop_ids,
            on_token=on_token,
        )


@dataclass(frozen=True)
class Objective:
    """The loss of one batch; ``online`` None is DPO."""

    preference: Callable[..., PreferenceLoss]
    online: Online | None

    def __call__(
        self,
        policy: Policy,
        batch: Sequence[TokenPair],
        *,
        step: int,
        reference: ReferenceCache | None,
        pair_indices: Sequence[int],
        watch: Callable[[], None],
    ) -> BatchResult:
        """Compute the loss of a batch with policy and reference.

        Args:
            step: The optimiser step, which seeds the samples.
            reference: Cached reference scores of the pairs; if None, they are computed here.
            pair_indices: Pair indices of the batch, the keys of the cache.
            watch: Called often; may raise to abandon the batch.
        """
        device, pairs = policy.model.device, len(batch)
        prefix = policy.encode([pair.prompt for pair in batch])

        seeds: list[int] = []
        responses: list[Response] = []
        sampling_seconds = 0.0
        if self.online:
            seeds = self.online.seeds(batch, step)
            with phase("decode"):
                decoding = self.online.decoding(prefix, seeds)
                started = perf_counter()
                responses = self.online.sample(decoding, seeds, device, watch)
                sampling_seconds = perf_counter() - started
                del decoding  # frees the decoding state

        completions = _completions(batch, responses, self.online.temperature if self.online else 1.0)
        logps = completions.score(prefix, since=0, device=device)
        watch()
        cached = reference.get(pair_indices, device) if reference else None
        since = 2 * pairs if cached else 0
        reference_logps = TokenLogps(logps.values[:0], logps.mask[:0])
        if since < len(completions.rows):
            with phase("reference", whole=True), policy.reference() as encode:
                reference_logps = completions.score(
                    encode([p.prompt for p in batch]), since=since, device=device
                )
        if cached is None:
            sums = reference_logps.sums()
            cached = sums[:pairs], sums[pairs : 2 * pairs]

        sums = logps.rows(slice(0, 2 * pairs)).sums()
        preference = self.preference(sums[:pairs], sums[pairs:], *cached)
        result = BatchResult(preference.losses.mean(), _preference_metrics(preference, sums.detach()))
        result.metrics["loss"] = result.metrics["loss/dpo"] = float(result.loss.detach())
        if self.online:
            result.sampling_seconds = sampling_seconds
            online_logps = logps.rows(slice(2 * pairs, None))
            online_reference = reference_logps.rows(slice(2 * pairs - since, None))
            _add_penalty(result, self.online, batch, seeds, responses, online_logps, online_reference)
        return result


def make_objective(config: TrainConfig, *, max_new_tokens: int, stop_ids: frozenset[int]) -> Objective:
    """Make the objective of a configuration's method."""
    online = Online(
        samples_per_prompt=config.num_generations,
        temperature=config.temperature,
        max_new_tokens=max_new_tokens,
        kl_coef=config.kl_coef,
        kl_loss=_KL_LOSSES[config.kl_estimator],
        stop_ids=stop_ids,
        seed=config.seed,
    )
    preference = partial(
        preference_loss,
        loss=LOSSES[config.loss_type],
        beta=config.beta,
        label_smoothing=config.label_smoothing,
    )
    return Objective(preference, online if config.samples_online else None)


@dataclass(frozen=True)
class _Completions:
    """The completions to score (chosen, rejected, samples), each with its prompt row and temperature."""

    rows: list[int]
    completions: list[list[int]]
    temperatures: list[float]

    def score(self, encoded: Encoded, *, since: int, device: torch.device) -> TokenLogps:
        temperature = torch.tensor(self.temperatures[since:], device=device)[:, None]
        return encoded.score(self.rows[since:], self.completions[since:], temperature)


def _completions(
    batch: Sequence[TokenPair], responses: Sequence[Response], temperature: float
) -> _Completions:
    pairs = len(batch)
    k = len(responses) // pairs
    rows = [*range(pairs), *range(pairs), *(row // k for row in range(len(responses)))]
    completions = [*(p.chosen for p in batch), *(p.rejected for p in batch), *(r.ids for r in responses)]
    return _Completions(rows, completions, [1.0] * (2 * pairs) + [temperature] * len(responses))


def _add_penalty(
    result: BatchResult,
    online: Online,
    batch: Sequence[TokenPair],
    seeds: Sequence[int],
    responses: Sequence[Response],
    logps: TokenLogps,
    reference: TokenLogps,
) -> None:
    """Add ``kl_coef * loss_kl`` and the samples' metrics to a batch's result."""
    shape = (len(batch), online.samples_per_prompt, -1)
    # padding may differ: policy and reference may have scored the samples in different batches
    width = min(logps.values.shape[1], reference.values.shape[1])
    values, reference_values = logps.values[:, :width], reference.values[:, :width]
    kl_loss = online.kl_loss(values.view(shape), reference_values.view(shape))
    result.loss = result.loss + online.kl_coef * kl_loss
    policy_sums, reference_sums = values.detach().sum(dim=1).tolist(), reference_values.sum(dim=1).tolist()
    for row, response in enumerate(responses):
        pair = batch[row // online.samples_per_prompt]
        result.responses.append(
            ScoredResponse(pair, seeds[row], response, policy_sums[row], reference_sums[row])
        )
    result.metrics |= _sample_metrics(result.responses, values.detach())
    # only the surrogate's gradient is meaningful; `loss` reports the objective itself
    result.metrics["loss/kl"] = float(kl_loss.detach())
    result.metrics["loss"] += online.kl_coef * result.metrics["objective/kl"]


def _preference_metrics(preference: PreferenceLoss, sums: Tensor) -> dict[str, float]:
    pairs = len(preference.losses)
    margins = preference.chosen_rewards - preference.rejected_rewards
    values = torch.stack(
        [
            sums[:pairs].mean(),
            sums[pairs:].mean(),
            preference.chosen_rewards.mean(),
            preference.rejected_rewards.mean(),
            margins.mean(),
            preference.accuracies.mean(),
        ]
    ).tolist()
    names = (
        "logps/chosen",
        "logps/rejected",
        "rewards/chosen",
        "rewards/rejected",
        "rewards/margins",
        "rewards/accuracies",
    )
    return dict(zip(names, values, strict=True))


def _sample_metrics(responses: Sequence[ScoredResponse], token_logps: Tensor) -> dict[str, float]:
    """Means over a batch's samples, including the mismatch of the decoder's log-probabilities."""
    count = len(responses)
    tokens = sum(len(r.response.ids) for r in responses)
    rows = token_logps.tolist()
    gap = sum(
        abs(trained - decoded)
        for row, r in zip(rows, responses, strict=True)
        for trained, decoded in zip(row, r.response.logps, strict=False)
    )
    return {
        "objective/kl": sum(r.policy_logp - r.reference_logp for r in responses) / count,
        "completions/mean_length": tokens / count,
        "completions/clipped_ratio": sum(not r.response.finished for r in responses) / count,
        "sampling/sampling_logp_difference/mean": gap / max(1, tokens),
    }
