"""Our engine's step, as train.py runs it: the objective, backward, clipping, AdamW."""

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.jobs import WARMUP, Ids, Job, diversity, learning_rate, pairs_of
from benchmarks.meter import Meter, now
from hypo_engine.config import Method, Need, Precision, TrainConfig
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.decoding.sampling import Response
from hypo_engine.forward.phases import measured, phase
from hypo_engine.methods.objective import make_objective
from hypo_engine.models.load import default_device
from hypo_engine.models.policy import Policy, load_policy
from hypo_engine.reference.scores import ReferenceCache, fill_reference
from hypo_engine.training.optimizer import clip_gradients, make_optimizer

LORA_RANK, LORA_ALPHA, BETA, CLIP = 16, 32, 0.1, 1.0


def configuration(job: Job) -> TrainConfig:
    """The configuration of a run with the job's steps and without evaluations."""
    return TrainConfig(
        model_name_or_path=job.model,
        method=_method(job),
        reward="length"
        if job.trains == "rloo"
        else "",  # steps() scores by another rule, which takes no time
        beta=BETA,
        learning_rate=learning_rate(job.tuning),
        per_device_train_batch_size=job.pairs,
        lora_r=0 if job.tuning == "full" else LORA_RANK,
        load_in_4bit=job.tuning == "qlora",
        lora_alpha=LORA_ALPHA,
        num_generations=max(1, job.samples),
        max_prompt_length=job.prompt,
        max_completion_length=job.completion,
        max_grad_norm=CLIP,
        precision=Precision(job.precision),
        eval_pairs=0,
        eval_prompts=0,
        probe_prompts=0,
    )


def _method(job: Job) -> Method:
    if job.trains == "preference":
        return Method.HYPO if job.samples else Method.DPO
    return Method(job.trains)


def load(job: Job) -> Policy:
    """Load the policy, with an adapter as after some training."""
    policy = load_policy(configuration(job), job.model, pad_id=0, device=default_device())
    train_adapter_a_little(policy.model)
    if policy.head is not None:
        with torch.no_grad():
            policy.head.weight.copy_(reward_weight(policy.head.weight.shape[1]))
    return policy


def reward_weight(hidden: int) -> torch.Tensor:
    """A reward model's head, [1, hidden], the same for all contenders."""
    weight: torch.Tensor = torch.randn(1, hidden, generator=torch.Generator().manual_seed(1))
    return weight / float(hidden**0.5)


@torch.no_grad()
def train_adapter_a_little(model: Any) -> None:
    """Set a LoRA adapter to small random numbers, the same for all contenders. A new one has no effect."""
    source = torch.Generator().manual_seed(0)
    for name, weight in sorted(model.named_parameters()):
        if "lora_" in name:
            weight.copy_(0.01 * torch.randn(weight.shape, generator=source))


def vocabulary(model: Any) -> int:
    """Size of a model's vocabulary."""
    return int(model.get_input_embeddings().weight.shape[0])


def steps(job: Job) -> dict[str, Any]:
    """Time optimiser steps and their phases. The reference of the stored answers is timed apart."""
    policy = load(job)
    config = configuration(job)
    objective = make_objective(config, max_new_tokens=job.completion, stop_ids=frozenset(), score=_scores)
    optimizer = make_optimizer(policy.parameters(), learning_rate=config.learning_rate, weight_decay=0.0)
    pairs = _token_pairs(pairs_of(job, steps=job.all_steps, vocabulary=vocabulary(policy.model)))
    indices = range(len(pairs))
    batches = [list(indices[start : start + job.pairs]) for start in indices[:: job.pairs]]

    meter = Meter()
    meter.loaded(policy.model)
    cache, reference_seconds = None, 0.0
    if Need.REFERENCE in config.needs:
        cache, started = ReferenceCache(None, "benchmark", len(pairs)), now()
        fill_reference(cache, policy, pairs, batches, between=lambda _done, _all: None)
        reference_seconds = (now() - started) / len(batches)

    phases: list[dict[str, float]] = []
    for step, batch in enumerate(batches):
        with measured() as found:
            meter.start()
            result = objective(
                policy,
                [pairs[i] for i in batch],
                step=step,
                reference=cache,
                pair_indices=batch,
                watch=lambda: None,
            )
            with phase("backward"):
                result.loss.backward()  # type: ignore[no-untyped-call]
            with phase("optimiser"):
                clip_gradients(policy.parameters(), config.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            meter.stop()
        phases.append(dict(found.seconds))
        _check_lengths([len(r.response.ids) for r in result.responses], job)
        del result  # as in train.py, so the next step reuses its memory
    return meter.result(reference_seconds=reference_seconds, phases=phases[WARMUP:])


def logps(job: Job) -> dict[str, Any]:
    """Token log-probabilities of the first step's answers: all chosen, then all rejected."""
    policy = load(job)
    pairs = pairs_of(job, steps=1, vocabulary=vocabulary(policy.model))
    rows = [*range(len(pairs)), *range(len(pairs))]
    completions = [*(p.chosen for p in pairs), *(p.rejected for p in pairs)]
    with torch.no_grad():
        return {"logps": policy.encode([p.prompt for p in pairs]).score(rows, completions).values.tolist()}


def rewards(job: Job) -> dict[str, Any]:
    """Rewards of the first step's answers, a list each: all chosen, then all rejected."""
    policy = load(job)
    pairs = pairs_of(job, steps=1, vocabulary=vocabulary(policy.model))
    rows = [*range(len(pairs)), *range(len(pairs))]
    completions = [*(p.chosen for p in pairs), *(p.rejected for p in pairs)]
    with torch.no_grad():
        found = policy.rewards(policy.encode([p.prompt for p in pairs]), rows, completions)
    return {"rewards": found[:, None].tolist()}


def _scores(_pairs: Sequence[TokenPair], responses: Sequence[Response]) -> list[float]:
    return [diversity(response.ids) for response in responses]


def _token_pairs(pairs: list[Ids]) -> list[TokenPair]:
    return [TokenPair(index, p.prompt, p.chosen, p.rejected) for index, p in enumerate(pairs)]


def _check_lengths(lengths: list[int], job: Job) -> None:
    wanted = [job.completion] * (job.pairs * job.samples)
    if lengths != wanted:
        raise RuntimeError(f"Samples have {lengths} tokens where {wanted} were asked for: times would lie.")
