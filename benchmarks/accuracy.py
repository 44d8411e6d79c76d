"""How far log-probabilities lie from those of a float64 forward pass, for texts that the model wrote."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.decode import load_transformers
from benchmarks.jobs import Job, pairs_of
from benchmarks.ours import load, vocabulary
from hypo_engine.decoding.sampling import Choice, sample_responses
from hypo_engine.models.policy import Policy

_ROWS = 40
"""Prompts, and texts, at once."""


@torch.no_grad()
def accuracy(job: Job) -> dict[str, Any]:
    """Compare ours in each precision and a plain bfloat16 forward pass with float64.

    Returns:
        ``tokens``, and for each contender the ``median``, ``mean`` and ``largest`` absolute difference of a
        token's log-probability, in nats.
    """
    policy = load(job)
    prompts = [p.prompt for p in pairs_of(job, steps=1, vocabulary=vocabulary(policy.model))]
    texts = _texts(policy, prompts, job.completion)
    found: dict[str, Tensor] = {"ours in float32": _ours(policy, prompts, texts)}
    del policy
    exact = _plain(load_transformers(job).double(), prompts, texts)
    found["ours in bfloat16"] = _ours(load(half := replace(job, precision="bfloat16")), prompts, texts)
    found["plain bfloat16"] = _plain(load_transformers(half), prompts, texts)
    gaps = {who: (logps.double() - exact).abs() for who, logps in found.items()}
    return {
        "tokens": exact.numel(),
        "contenders": {
            who: {"median": float(gap.median()), "mean": float(gap.mean()), "largest": float(gap.max())}
            for who, gap in gaps.items()
        },
    }


def _texts(policy: Policy, prompts: list[list[int]], length: int) -> list[list[int]]:
    texts = list[list[int]]()
    for rows in _batches(len(prompts)):
        decoding = policy.encode([prompts[row] for row in rows]).decoding(range(len(rows)), length)
        responses = sample_responses(
            decoding,
            seeds=list(rows),
            choice=Choice.same(len(rows), decoding.logits.device),
            max_new_tokens=[length] * len(rows),
            stop_ids=frozenset(),
        )
        texts += [response.ids for response in responses]
    return texts


def _ours(policy: Policy, prompts: list[list[int]], texts: list[list[int]]) -> Tensor:
    """[texts, tokens]"""

    def score(rows: range) -> Tensor:
        encoded = policy.encode([prompts[row] for row in rows])
        return encoded.score(range(len(rows)), [texts[row] for row in rows]).values

    return _joined(len(prompts), score)


def _plain(model: Any, prompts: list[list[int]], texts: list[list[int]]) -> Tensor:
    """transformers' own forward pass: [texts, tokens]"""

    def score(rows: range) -> Tensor:
        ids = torch.tensor([prompts[row] + texts[row] for row in rows], device=model.device)
        length = len(texts[0])
        logits = model(input_ids=ids, logits_to_keep=length + 1).logits[:, :-1]
        exact = logits if logits.dtype == torch.float64 else logits.float()
        picked: Tensor = exact.log_softmax(dim=-1).gather(2, ids[:, -length:, None])[:, :, 0].cpu()
        return picked

    return _joined(len(prompts), score)


def _joined(count: int, score: Callable[[range], Tensor]) -> Tensor:
    return torch.cat([score(rows) for rows in _batches(count)])


def _batches(count: int) -> list[range]:
    return [range(start, min(start + _ROWS, count)) for start in range(0, count, _ROWS)]
