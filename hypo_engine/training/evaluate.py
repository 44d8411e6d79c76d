"""Evaluation: margins on held-out pairs, the sampled KL on held-out prompts, and answers to probe prompts.

All evaluations of a run, and of twin runs with the same seed, use common random numbers, so only the
policy changes between two evaluations. At step 0 policy and reference are the same function on the same
batches, so margins and KL are exactly 0.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean as mean
from statistics import stdev

import torch

from hypo_engine.config import Need
from hypo_engine.data.token_pairs import StepMeans, TokenPair
from hypo_engine.decoding.sampling import Choice, sample_responses
from hypo_engine.methods.batch import Batch, BatchLoss
from hypo_engine.methods.mismatch import RatioSum, mismatched_answers, mismatched_ratios
from hypo_engine.methods.objective import pair_logps, pair_rewards
from hypo_engine.models.policy import Policy
from hypo_engine.reference.scores import ReferenceCache, fill_reference, length_batches, score_pairs
from hypo_engine.reporting import Prompt, Sample, SampleKind
from hypo_engine.seeds import derive_seed

_PROMPTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """A held-out prompt and its token ids."""

    prompt: Prompt
    ids: list[int]


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a run, called at several steps.

    Attributes:
        reference: Reference scores of ``pairs``, computed on first use.
        prompts: For the sampled KL, with one response each at the run's temperature.
        method: Gives the values of held-out pairs.
        needs: The parts of a batch that it reads.
        probes: Prompts that are answered greedily, so that the text changes only with the policy.
        decode: Token ids -> text.
        score: Scores answers to prompts; None leaves the samples without scores.
        between: Called between batches with a description of the phase; may raise to stop.
        watch: Called after each decoded token; may raise to stop.
    """

    pairs: Sequence[TokenPair]
    reference: ReferenceCache
    prompts: Sequence[TokenPrompt]
    probes: Sequence[TokenPrompt]
    method: BatchLoss
    needs: frozenset[Need]
    temperature: float
    max_new_tokens: int
    stop_ids: frozenset[int]
    seed: int
    batch_size: int
    decode: Callable[[Sequence[int]], str]
    score: Callable[[Sequence[Prompt], Sequence[str]], list[float]] | None
    between: Callable[[str], None]
    watch: Callable[[], None]

    @torch.no_grad()
    def __call__(self, policy: Policy, step: int) -> Iterator[tuple[dict[str, float], list[Sample]]]:
        """Evaluate a policy part by part: yields metrics with the ``eval_`` prefix, and their samples.

        The pairs come first, so that the first point of a chart appears early.
        """
        if self.pairs:
            yield self._score_pairs(policy), []
        if Need.REWARDS in self.needs:  # the model writes no answers
            return
        samples = self._sample(policy, step, "eval", self.prompts, self.temperature)
        samples = self._scored(samples)
        yield _kl_metrics(samples) | _score_metrics(samples), samples
        yield {}, self._sample(policy, step, "probe", self.probes, 0.0)

    def _scored(self, samples: list[Sample]) -> list[Sample]:
        """The samples with their scores, if they are scored."""
        if self.score is None or not samples:
            return samples
        self.between("scoring samples")
        scores = self.score([sample.prompt for sample in samples], [sample.text for sample in samples])
        return [replace(sample, score=score) for sample, score in zip(samples, scores, strict=True)]

    def _score_pairs(self, policy: Policy) -> dict[str, float]:
        batches = length_batches(range(len(self.pairs)), self.pairs, self.batch_size)
        if Need.REFERENCE in self.needs:
            fill_reference(
                self.reference, policy, self.pairs, batches, between=lambda *_: self.between("evaluating")
            )
        means = StepMeans(mean([len(pair.chosen) for pair in self.pairs]))  # every pair counts alike
        mismatched = self._mismatched(policy, batches) if Need.MISMATCHED in self.needs else None
        columns: dict[str, list[float]] = {}
        for batch in batches:
            self.between("evaluating")
            found = self.method.held_out(self._parts(policy, batch, means, mismatched))
            for name, column in found.items():
                columns.setdefault(name, []).extend(column.tolist())
        point = {} if mismatched is None else {"eval_kl": max(0.0, mismatched)}
        return {"eval_num_pairs": float(len(self.pairs))} | point | _pair_metrics(columns)

    def _mismatched(self, policy: Policy, batches: Sequence[Sequence[int]]) -> float:
        """The mean log-ratio of mismatched answers over all held-out pairs."""
        answers = mismatched_answers(self.pairs)
        found = RatioSum()
        for batch in batches:
            self.between("evaluating")
            pairs = [self.pairs[i] for i in batch]
            found += mismatched_ratios(policy, pairs, [answers[i] for i in batch])
        return found.mean

    def _parts(
        self, policy: Policy, batch: Sequence[int], means: StepMeans, mismatched: float | None
    ) -> Batch:
        """The parts of a batch of held-out pairs that the method reads."""
        pairs = [self.pairs[i] for i in batch]
        if Need.REWARDS in self.needs:
            encoded = policy.encode([pair.prompt for pair in pairs])
            return Batch(rewards=pair_rewards(policy, encoded, pairs))
        chosen, rejected = score_pairs(policy.encode, pairs)
        compares = Need.REFERENCE in self.needs
        reference = self.reference.get(batch, chosen.device) if compares else None
        return Batch(pair_logps(pairs, chosen, rejected, reference, means), mismatched=mismatched)

    def _sample(
        self, policy: Policy, step: int, kind: SampleKind, prompts: Sequence[TokenPrompt], temperature: float
    ) -> list[Sample]:
        found: list[Sample] = []
        for start in range(0, len(prompts), _PROMPTS_AT_ONCE):
            self.between("sampling")
            group = prompts[start : start + _PROMPTS_AT_ONCE]
            seeds = [derive_seed(kind, self.seed, start + i) for i in range(len(group))]
            found += self._answer(policy, step, kind, group, seeds, temperature)
        return found

    def _answer(
        self,
        policy: Policy,
        step: int,
        kind: SampleKind,
        group: Sequence[TokenPrompt],
        seeds: list[int],
        temperature: float,
    ) -> list[Sample]:
        rows = range(len(group))
        prompts = [prompt.ids for prompt in group]
        encoded = policy.encode(prompts)
        responses = sample_responses(
            encoded.decoding(rows, self.max_new_tokens),
            seeds=seeds,
            choice=Choice.same(len(rows), policy.model.device, temperature=temperature),
            max_new_tokens=[self.max_new_tokens] * len(rows),
            stop_ids=self.stop_ids,
            on_token=lambda *_: bool(self.watch()),  # type: ignore[func-returns-value]
        )
        completions = [response.ids for response in responses]
        scale = temperature or 1.0  # greedy answers are scored at temperature 1
        logps = encoded.score(rows, completions, scale).sums().tolist()
        with policy.reference() as encode:
            reference_logps = encode(prompts).score(rows, completions, scale).sums().tolist()
        return [
            Sample(
                kind=kind,
                step=step,
                prompt=prompt.prompt,
                text=self.decode(response.ids),
                seed=seed,
                tokens=len(response.ids),
                finished=response.finished,
                policy_logp=logp,
                reference_logp=reference_logp,
            )
            for prompt, seed, response, logp, reference_logp in zip(
                group, seeds, responses, logps, reference_logps, strict=True
            )
        ]


def _pair_metrics(columns: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Means over pairs or answers; standard errors except for log-probabilities, which vary with length."""
    found: dict[str, float] = {}
    for name, values in columns.items():
        if not values:
            continue
        logps = name.startswith("logps/")
        found |= {f"eval_{name}": mean(values)} if logps else _mean_and_error(f"eval_{name}", values)
    return found


def _score_metrics(samples: Sequence[Sample]) -> dict[str, float]:
    """The mean score of the samples, if they are scored."""
    scores = [sample.score for sample in samples if sample.score is not None]
    return _mean_and_error("eval_objective/scores", scores) if scores else {}


def _kl_metrics(samples: Sequence[Sample]) -> dict[str, float]:
    """The sampled reverse KL in nats per response, and the length of responses, with standard errors."""
    if not samples:
        return {}
    return {
        "eval_num_prompts": float(len(samples)),
        **_mean_and_error("eval_objective/kl", [s.policy_logp - s.reference_logp for s in samples]),
        **_mean_and_error("eval_completions/mean_length", [s.tokens for s in samples]),
        "eval_completions/clipped_ratio": mean([float(not s.finished) for s in samples]),
    }


def _mean_and_error(name: str, values: Sequence[float]) -> dict[str, float]:
    """A mean and, given at least two values, its standard error."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {name: mean(values), f"{name}_stderr": error}
