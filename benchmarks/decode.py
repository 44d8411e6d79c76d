"""Decoding: time our sampler and ``transformers.generate`` with the same weights, and check our samples.

Each prompt has k samples, as in a HyPO step. Both contenders alternate in one process, so that drift of the
machine's speed affects both.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from benchmarks.jobs import Job, pairs_of
from benchmarks.meter import now
from benchmarks.ours import LORA_ALPHA, LORA_RANK, load, train_adapter_a_little, vocabulary
from hypo_engine.decoding.sampling import Choice, Response, sample_responses
from hypo_engine.models.policy import Policy


def decode(job: Job) -> dict[str, Any]:
    """Time ``job.pairs`` prompts with ``job.samples`` responses each, ``job.steps`` times after a warm-up.

    With ``tuning`` full the model is the plain base model, with lora the policy with its adapter.

    Returns:
        ``ours`` and ``generate``: lists of (whole, prefill) seconds. ``difference``: the largest difference
        of a token's log-probability between decoding and training. ``means``: (mean, standard error) of the
        samples' summed log-probabilities, ours and generate's, both scored by the engine.
    """
    policy, other = load(job), load_transformers(job)
    prompts = [p.prompt for p in pairs_of(job, steps=1, vocabulary=vocabulary(policy.model))]
    ours, theirs = list[tuple[float, float]](), list[tuple[float, float]]()
    own_scores, their_scores, difference = list[float](), list[float](), 0.0
    for repeat in range(job.steps + 1):
        whole, prefill, responses = _our_turn(policy, prompts, job, seed=repeat)
        ours.append((whole, prefill))
        values = _scores(policy, prompts, [r.ids for r in responses], job)
        decoded = torch.tensor([r.logps for r in responses], device=values.device)
        difference = max(difference, float((decoded - values).abs().max()))
        own_scores += values.sum(dim=1).tolist()

        whole, prefill, ids = _their_turn(other, prompts, job, seed=repeat)
        theirs.append((whole, prefill))
        their_scores += _scores(policy, prompts, ids, job).sum(dim=1).tolist()
    return {
        "ours": ours[1:],
        "generate": theirs[1:],
        "difference": difference,
        "means": [_mean(own_scores), _mean(their_scores)],
    }


def load_transformers(job: Job) -> Any:
    """Load the same weights as a plain transformers model, without the engine's changes."""
    dtype = torch.bfloat16 if job.precision == "bfloat16" else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(job.model, dtype=dtype)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)
    model.generation_config.eos_token_id = None  # see plain_sampling
    if job.tuning == "full":
        return model
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(model, lora).eval()
    train_adapter_a_little(adapted)
    return adapted


def plain_sampling(new_tokens: int, samples: int, *, pad_id: int) -> Any:
    """Settings for ``generate`` that sample exactly ``new_tokens`` tokens from the model's own distribution.

    The model's generation_config must not have an end token, since ``generate`` fills empty fields from it.
    """
    settings: Any = GenerationConfig
    return settings(
        do_sample=True,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        max_new_tokens=new_tokens,
        num_return_sequences=samples,
        pad_token_id=pad_id,
    )


def _our_turn(
    policy: Policy, prompts: list[list[int]], job: Job, *, seed: int
) -> tuple[float, float, list[Response]]:
    rows = [row // job.samples for row in range(len(prompts) * job.samples)]
    with torch.no_grad():
        started = now()
        decoding = policy.encode(prompts).decoding(rows, job.completion)
        ready = now()
        responses = sample_responses(
            decoding,
            seeds=[1000 * seed + row for row in range(len(rows))],
            choice=Choice.same(len(rows), decoding.logits.device),
            max_new_tokens=[job.completion] * len(rows),
            stop_ids=frozenset(),
        )
        return now() - started, ready - started, responses


def _their_turn(
    model: Any, prompts: list[list[int]], job: Job, *, seed: int
) -> tuple[float, float, list[list[int]]]:
    ids = torch.tensor(prompts, device=model.device)

    def generate(new_tokens: int) -> torch.Tensor:
        torch.manual_seed(seed)
        found: torch.Tensor = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=plain_sampling(new_tokens, job.samples, pad_id=0),
        )
        return found[:, ids.shape[1] :]

    with torch.no_grad():
        prefill, _ = _timed(lambda: generate(1))
        whole, found = _timed(lambda: generate(job.completion))
    if found.shape[1] != job.completion:
        raise RuntimeError(f"generate gave {found.shape[1]} tokens a row: times would lie.")
    return whole, prefill, found.tolist()


def _timed(call: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    started = now()
    result = call()
    return now() - started, result


def _scores(policy: Policy, prompts: list[list[int]], completions: list[list[int]], job: Job) -> torch.Tensor:
    """Log-probabilities as computed in training: [rows, tokens]."""
    rows = [row // job.samples for row in range(len(completions))]
    with torch.no_grad():
        return policy.encode(prompts).score(rows, completions).values


def _mean(values: list[float]) -> tuple[float, float]:
    """The mean and its standard error."""
    found = torch.tensor(values, dtype=torch.float64)
    return float(found.mean()), float(found.std() / len(values) ** 0.5)
