"""The judge: a plain implementation of DPO's and HyPO's loss and gradients to compare the engine with.

One sequence at a time, never padded, through the plain transformers model with eager attention, all its
logits, ``log_softmax``, autograd. Weights, logits and sums are float64; where transformers itself goes
down to float32 (norms, attention's softmax, rotary angles) the judge does too. LoRA is written out as W +
alpha / r * B A. It shares nothing with hypo_engine except the token ids, the sampled responses and the
parameter values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

Ids = Sequence[int]


@dataclass(frozen=True)
class Terms:
    """The terms of the loss; kl_coef 0 is DPO.

    Attributes:
        to_go: Weight each token by the ratios from itself to the end, instead of the sequence by all of
            them.
    """

    beta: float
    kl_coef: float = 0.0
    temperature: float = 1.0
    to_go: bool = False


@dataclass(frozen=True)
class Question:
    """A prompt with its two answers and its sampled responses."""

    prompt: Ids
    chosen: Ids
    rejected: Ids
    responses: Sequence[Ids] = ()


@dataclass
class Verdict:
    """The judge's result.

    Attributes:
        dpo: The mean loss of the pairs.
        surrogate: The mean of the KL term that is differentiated.
        size: Sum of the magnitudes of the loss's summands: the scale of its rounding error.
        cancellation: Mean ratio of a response's log-probability to its final weight, which multiplies the
            rounding error of the KL term.
        gradients: Gradients of the whole loss, by the policy's parameter names.
        policy: Log-probability of every token of (chosen, rejected, *responses), question by question.
        reference: The same under the reference.
    """

    dpo: float = 0.0
    surrogate: float = 0.0
    size: float = 0.0
    cancellation: float = 0.0
    gradients: dict[str, Tensor] = field(default_factory=dict)
    policy: list[list[Tensor]] = field(default_factory=list)
    reference: list[list[Tensor]] = field(default_factory=list)


class Judge:
    """Judges one policy that started as the model in ``folder``."""

    def __init__(self, folder: Path, *, lora_scale: float | None) -> None:
        """lora_scale: alpha / r, or None if every weight is trained."""
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
        self._model = model.double().eval().requires_grad_(False)
        self._lora_scale = lora_scale

    def judge(self, trained: Mapping[str, Tensor], questions: Sequence[Question], terms: Terms) -> Verdict:
        """Judge a policy by its trained parameters, given as the policy's names and values."""
        leaves = {name: value.detach().double().requires_grad_() for name, value in trained.items()}
        weights, verdict = self._weights(leaves), Verdict()
        losses, products, advantages = [], [], []
        for question in questions:
            answers = [question.chosen, question.rejected, *question.responses]
            scales = [1.0, 1.0] + [terms.temperature] * len(question.responses)
            scored = [
                self._logps(weights, question.prompt, answer, scale)
                for answer, scale in zip(answers, scales, strict=True)
            ]
            with torch.no_grad():
                held = [
                    self._logps({}, question.prompt, answer, scale)
                    for answer, scale in zip(answers, scales, strict=True)
                ]
            verdict.policy.append([values.detach() for values in scored])
            verdict.reference.append(held)
            margin = (scored[0].sum() - held[0].sum()) - (scored[1].sum() - held[1].sum())
            losses.append(torch.log1p(torch.exp(-terms.beta * margin)))
            ratios = [(ours - theirs).detach() for ours, theirs in zip(scored[2:], held[2:], strict=True)]
            weights_of = _advantages(ratios, to_go=terms.to_go)
            products += [logps * weight for logps, weight in zip(scored[2:], weights_of, strict=True)]
            advantages += weights_of
        dpo = torch.stack(losses).mean()
        penalty = torch.zeros((), dtype=torch.float64)
        if products:
            penalty = torch.stack([product.sum() for product in products]).mean()
            verdict.size = sum(product.abs().sum().item() for product in products) / len(products)
            sums = [abs(values.sum().item()) for answers in verdict.policy for values in answers[2:]]
            verdict.cancellation = sum(sums) / len(sums) / torch.cat(advantages).abs().mean().item()
        total = dpo + terms.kl_coef * penalty
        verdict.dpo, verdict.surrogate = dpo.item(), penalty.item()
        verdict.size = verdict.dpo + terms.kl_coef * verdict.size
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
            verdict.gradients[name] = torch.zeros_like(leaf) if gradient is None else gradient
        return verdict

    def _logps(self, weights: Mapping[str, Tensor], prompt: Ids, answer: Ids, temperature: float) -> Tensor:
        """Log-probability of each token of an answer: [tokens] float64."""
        ids = torch.tensor([[*prompt, *answer]])
        output: Any = functional_call(self._model, dict(weights), (), {"input_ids": ids, "use_cache": False})
        logps = torch.log_softmax(output.logits[0].double() / temperature, dim=-1)
        return torch.stack([logps[len(prompt) + at - 1, token] for at, token in enumerate(answer)])

    def _weights(self, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The model's weights as functions of the trained parameters."""
        if self._lora_scale is None:
            return dict(leaves)
        weights = {}
        for name in leaves:
            if ".lora_A." not in name:
                continue
            module_name = name.split(".lora_A.")[0].removeprefix("base_model.model.")
            module = self._model.get_submodule(module_name)
            update = self._lora_scale * leaves[name.replace("lora_A", "lora_B")] @ leaves[name]
            if isinstance(module, Conv1D):  # stored as [in, out]
                update = update.T
            weights[f"{module_name}.weight"] = module.weight + update
        return weights


def _advantages(ratios: Sequence[Tensor], *, to_go: bool) -> list[Tensor]:
    """The weight of each token of the responses to one prompt: its ratio minus the mean of the others.

    The ratio is that of the whole response, or of the rest of it from the token on.
    """
    found = []
    for i, ratio in enumerate(ratios):
        others = [ratios[j] for j in range(len(ratios)) if j != i]
        weights = []
        for at in range(len(ratio)):
            start = at if to_go else 0
            baseline = sum(float(other[start:].sum()) for other in others) / max(1, len(others))
            weights.append(float(ratio[start:].sum()) - baseline)
        found.append(torch.tensor(weights, dtype=torch.float64))
    return found
