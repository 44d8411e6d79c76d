"""Test that our sampler draws from the model's own distribution: many draws against the exact softmax."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.decode import load_transformers
from benchmarks.jobs import Job, pairs_of
from benchmarks.ours import load, vocabulary
from hypo_engine.decoding.sampling import Choice, sample_responses

_ROWS = 256
_NAMED = 50
"""Number of the most likely tokens with a class of their own; the others share one class."""


@torch.no_grad()
def draws(job: Job) -> dict[str, Any]:
    """Draw ``job.setting["draws"]`` first tokens after one prompt, at temperature 1.

    The exact distribution is that of transformers' own forward pass.

    Returns:
        ``chi_square`` and its ``freedom``; the ``mean`` log-probability of the draws with its ``error``, and
        the ``expected`` mean, which is minus the entropy.
    """
    policy = load(job)
    prompt = pairs_of(job, steps=1, vocabulary=vocabulary(policy.model))[0].prompt
    exact = _first_token_logps(job, prompt)
    count = job.setting["draws"]
    tokens: list[int] = []
    encoded = policy.encode([prompt])
    while len(tokens) < count:
        decoding = encoded.decoding([0] * _ROWS, 1)
        responses = sample_responses(
            decoding,
            seeds=list(range(len(tokens), len(tokens) + _ROWS)),
            choice=Choice.same(_ROWS, decoding.logits.device),
            max_new_tokens=[1] * _ROWS,
            stop_ids=frozenset(),
        )
        tokens += [r.ids[0] for r in responses]
    drawn = torch.tensor(tokens)
    chi_square, freedom = chi_square_of(exact, drawn)
    logps = exact[drawn]
    return {
        "draws": len(tokens),
        "chi_square": chi_square,
        "freedom": freedom,
        "mean": float(logps.mean()),
        "error": float(logps.std() / len(tokens) ** 0.5),
        "expected": float((exact.exp() * exact).sum()),
    }


def chi_square_of(logps: Tensor, drawn: Tensor) -> tuple[float, int]:
    """Pearson's statistic of draws against a distribution, and its degrees of freedom.

    Args:
        logps: [vocab] float64.
        drawn: [draws] token ids.
    """
    probabilities = logps.exp()
    top = probabilities.topk(min(_NAMED, len(logps) - 1)).indices
    top = top[probabilities[top] * len(drawn) >= 5]  # Pearson's statistic needs five expected per class
    counts = torch.bincount(drawn, minlength=len(logps)).double()
    expected = torch.cat([probabilities[top], 1 - probabilities[top].sum(dim=0, keepdim=True)]) * len(drawn)
    found = torch.cat([counts[top], len(drawn) - counts[top].sum(dim=0, keepdim=True)])
    return float(((found - expected) ** 2 / expected).sum()), len(top)


def _first_token_logps(job: Job, prompt: list[int]) -> Tensor:
    model = load_transformers(job)
    logits = model(input_ids=torch.tensor([prompt], device=model.device)).logits[0, -1]
    logps: Tensor = logits.double().log_softmax(dim=-1).cpu()
    return logps
