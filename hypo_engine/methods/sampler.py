"""The samples of a training step: drawing them, and their log-probabilities and metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from hypo_engine.config import TrainConfig
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.decoding.sampling import Choice, Response, sample_responses
from hypo_engine.decoding.vllm_rollout import VllmRollout
from hypo_engine.forward.logprobs import TokenLogps
from hypo_engine.forward.phases import phase
from hypo_engine.methods.batch import Samples, ScoredResponse
from hypo_engine.prompts.encoder import Encoded
from hypo_engine.seeds import derive_seed

Watch = Callable[[], None]
"""Called often in a step; may raise to abandon it."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Responses before they are scored, with their seeds, and the seconds that sampling took."""

    responses: Sequence[Response] = ()
    seeds: Sequence[int] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Sampler:
    """Samples k responses for each prompt, from the policy itself.

    Attributes:
        vllm: Samples with vLLM; None samples with the engine's own decoder.
    """

    samples_per_prompt: int
    temperature: float
    max_new_tokens: int
    stop_ids: frozenset[int]
    seed: int
    vllm: VllmRollout | None = None

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        *,
        max_new_tokens: int,
        stop_ids: frozenset[int],
        vllm: VllmRollout | None = None,
    ) -> "Sampler":
        """The sampler of a configuration."""
        return cls(config.num_generations, config.temperature, max_new_tokens, stop_ids, config.seed, vllm)

    def draw(
        self,
        encode: Callable[[], Encoded],
        batch: Sequence[TokenPair],
        *,
        step: int,
        device: torch.device,
        watch: Watch,
    ) -> Drawn:
        """Sample; the responses of a prompt are adjacent.

        Args:
            encode: The prompts of the batch, encoded; called only if the engine's decoder needs them.
        """
        seeds = self._seeds(batch, step)
        with phase("decode"):
            if self.vllm:
                return self._from_vllm(self.vllm, batch, seeds, step, watch)
            return self._decoded(encode(), seeds, device, watch)

    def _from_vllm(
        self, vllm: VllmRollout, batch: Sequence[TokenPair], seeds: list[int], step: int, watch: Watch
    ) -> Drawn:
        started = perf_counter()
        responses = vllm.sample(
            [pair.prompt for pair in batch for _ in range(self.samples_per_prompt)],
            step=step,
            seeds=seeds,
            temperature=self.temperature,
            max_new_tokens=self.max_new_tokens,
            stop_ids=self.stop_ids,
            watch=watch,
        )
        return Drawn(responses, seeds, perf_counter() - started)

    def _decoded(self, encoded: Encoded, seeds: list[int], device: torch.device, watch: Watch) -> Drawn:
        def on_token(_row: int, _token: int) -> bool:
            watch()
            return False

        rows = [row // self.samples_per_prompt for row in range(len(seeds))]
        decoding = encoded.decoding(rows, self.max_new_tokens)
        started = perf_counter()
        responses = sample_responses(
            decoding,
            seeds=seeds,
            choice=Choice.same(len(seeds), device, temperature=self.temperature),
            max_new_tokens=[self.max_new_tokens] * len(seeds),
            stop_ids=self.stop_ids,
            on_token=on_token,
        )
        return Drawn(responses, seeds, perf_counter() - started)

    def _seeds(self, batch: Sequence[TokenPair], step: int) -> list[int]:
        """One seed per response, a function of (seed, step, pair, sample)."""
        k = self.samples_per_prompt
        return [
            derive_seed("online", self.seed, step, pair.source_index, sample)
            for pair in batch
            for sample in range(k)
        ]


def score_samples(
    drawn: Drawn,
    batch: Sequence[TokenPair],
    logps: TokenLogps,
    reference: TokenLogps,
    scores: Tensor | None = None,
) -> Samples:
    """Combine drawn responses with their log-probabilities.

    Args:
        logps: Of the policy, with gradient, one row per response; ``reference`` likewise.
        scores: [prompts, k], if the method needs them.
    """
    # padding may differ: policy and reference may have scored the samples in different batches
    width = min(logps.values.shape[1], reference.values.shape[1])
    values, reference_values = logps.values[:, :width], reference.values[:, :width]
    policy_sums, reference_sums = (
        x.sum(dim=1, dtype=torch.float64).tolist() for x in (values.detach(), reference_values)
    )
    k = len(drawn.responses) // len(batch)
    each_score = [None] * len(drawn.responses) if scores is None else scores.flatten().tolist()
    responses = [
        ScoredResponse(
            batch[row // k],
            drawn.seeds[row],
            response,
            policy_sums[row],
            reference_sums[row],
            each_score[row],
        )
        for row, response in enumerate(drawn.responses)
    ]
    shape = (len(batch), k, -1)
    metrics = _metrics(responses, values.detach())
    return Samples(values.view(shape), reference_values.view(shape), responses, metrics, scores)


def reward_metrics(samples: Samples, rewards: Tensor) -> dict[str, float]:
    """Means over scored samples by TRL's names, but ``num_eos_tokens`` is a mean over prompts.

    Args:
        rewards: [prompts, k], the scores less the KL penalty.
    """
    assert samples.scores is not None
    mean_score, mean_reward = torch.stack([samples.scores.mean(), rewards.mean()]).tolist()
    prompts, count = len(rewards), len(samples.responses)
    return {
        "objective/scores": mean_score,
        "objective/rlhf_reward": mean_reward,
        "objective/non_score_reward": mean_reward - mean_score,
        "objective/entropy": -sum(r.policy_logp for r in samples.responses) / count,
        "val/num_eos_tokens": sum(r.response.finished for r in samples.responses) / prompts,
    }


def _metrics(responses: Sequence[ScoredResponse], token_logps: Tensor) -> dict[str, float]:
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
