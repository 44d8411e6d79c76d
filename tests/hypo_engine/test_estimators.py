"""The KL estimators are unbiased: comparison with exact gradients of a softmax and a tiny language model.

One estimate is the gradient of the loss on one group of k samples. Over many groups the mean estimate must
lie within three standard errors of the exact gradient, taken jointly: with q directions and the estimates'
covariance, the squared distance is a chi-squared variable with q degrees of freedom, whose mean is q and
whose standard deviation is sqrt(2 q). Seeds are fixed, so the tests are deterministic. Known wrong
estimators fail the same check by a wide margin.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from hypo_engine.config import KLEstimator, Method, Precision, TrainConfig
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.decoding.sampling import Choice, sample_responses
from hypo_engine.methods.losses import reward_to_go_kl_loss, sequence_kl_loss
from hypo_engine.methods.objective import make_objective
from hypo_engine.models.policy import Policy, load_policy
from hypo_engine.seeds import derive_seed

Loss = Callable[[Tensor, Tensor], Tensor]
"""[groups, k, tokens] log-probabilities of policy and reference -> scalar."""

CPU = torch.device("cpu")
OURS = [sequence_kl_loss, reward_to_go_kl_loss]


def naive(logps: Tensor, reference: Tensor) -> Tensor:
    """A wrong estimator: samples carry no gradient."""
    return (logps - reference).sum(dim=-1).mean()


def token_product(logps: Tensor, reference: Tensor) -> Tensor:
    """Another wrong estimator: a token's ratio without those of later tokens."""
    return (logps * (logps - reference).detach()).sum(dim=-1).mean()


def without_baseline(loss: Loss) -> Loss:
    """The same samples in groups of one."""

    def single(logps: Tensor, reference: Tensor) -> Tensor:
        return loss(logps.flatten(0, 1)[:, None], reference.flatten(0, 1)[:, None])

    return single


def token_weights(loss: Loss, logps: Tensor, reference: Tensor) -> Tensor:
    """The factor of each token's score in its group's estimate: [groups, k, tokens]."""
    leaf = logps.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, reference), leaf)
    return gradient * len(logps)


def standard_errors(estimates: Tensor, exact: Tensor) -> float:
    """Distance of the mean of estimates [groups, q] from the exact [q]; see the module docstring."""
    count, q = estimates.shape
    distance = estimates.mean(dim=0) - exact
    squared = count * distance @ torch.linalg.solve(estimates.T.cov(), distance)
    return (squared.item() - q) / math.sqrt(2 * q)


def total_variance(estimates: Tensor) -> float:
    return estimates.var(dim=0).sum().item()


# A softmax over four responses of one token.

LOGITS = torch.tensor([0.3, -0.7, 1.5, 0.0], dtype=torch.float64)
REFERENCE = torch.tensor([0.04, 0.02, 0.04, 0.9], dtype=torch.float64).log()


def softmax_estimates(loss: Loss, *, k: int, groups: int = 50_000) -> tuple[Tensor, Tensor]:
    """Estimated and exact gradient for the first three logits (the fourth is their negative sum)."""
    logits = LOGITS.clone().requires_grad_()
    logps = F.log_softmax(logits, dim=0)
    exact = torch.autograd.grad((logps.exp() * (logps - REFERENCE)).sum(), logits)[0]
    probabilities = logps.detach().exp()
    generator = torch.Generator().manual_seed(k)
    drawn = torch.multinomial(probabilities, groups * k, replacement=True, generator=generator)
    drawn = drawn.view(groups, k, 1)
    weights = token_weights(loss, logps.detach()[drawn], REFERENCE[drawn])
    scores = torch.eye(4, dtype=torch.float64) - probabilities  # of each response, with respect to the logits
    return (weights[..., None] * scores[drawn]).sum(dim=(1, 2))[:, :3], exact[:3]


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("loss", OURS)
def test_softmax_gradient_is_unbiased(loss: Loss, k: int) -> None:
    assert standard_errors(*softmax_estimates(loss, k=k)) < 3


def test_softmax_naive_gradient_is_nothing() -> None:
    estimates, exact = softmax_estimates(naive, k=2)
    assert standard_errors(estimates, exact) > 100
    assert standard_errors(estimates, torch.zeros_like(exact)) < 3


@pytest.mark.parametrize("loss", OURS)
def test_softmax_baseline_lowers_the_variance(loss: Loss) -> None:
    with_baseline, _ = softmax_estimates(loss, k=4)
    plain, _ = softmax_estimates(without_baseline(loss), k=4)
    assert total_variance(with_baseline) < 0.8 * total_variance(plain)


# A language model over five tokens with responses of at most three.

VOCABULARY, END, LONGEST = 5, 0, 3
PROMPT = [3, 1, 4]
PREFIXES = [prefix for length in range(LONGEST) for prefix in product(range(1, VOCABULARY), repeat=length)]
"""All possible prefixes of a token; an end token is always last."""


@dataclass(frozen=True)
class Language:
    """A policy with its exact tables: a row per prefix, a column per token.

    Attributes:
        logps: [prefixes, vocabulary] float64 log-probabilities of the policy; reference likewise.
        scores: [prefixes, vocabulary, q], the derivatives of ``logps`` along q directions of the weights.
        exact: [q], the derivatives of KL(pi || ref) over all possible responses.
        directions: [q, weights].
    """

    policy: Policy
    logps: Tensor
    reference: Tensor
    scores: Tensor
    exact: Tensor
    directions: Tensor


def write_tiny_language(folder: Path) -> Path:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=END,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight.normal_(0.0, 0.5)
    model.save_pretrained(folder)
    return folder


def table_of(model: Any, temperature: float) -> Tensor:
    """Log-probabilities of every token after every prefix, with the autograd graph."""
    rows = [model(input_ids=torch.tensor([[*PROMPT, *prefix]])).logits[0, -1].double() for prefix in PREFIXES]
    return F.log_softmax(torch.stack(rows) / temperature, dim=-1)


def exact_kl(logps: Tensor, reference: Tensor) -> Tensor:
    """KL over all possible responses, by the chain rule: each prefix weighted with its probability."""
    total = torch.zeros((), dtype=torch.float64)
    for row, prefix in enumerate(PREFIXES):
        steps = [logps[PREFIXES.index(prefix[:at]), token] for at, token in enumerate(prefix)]
        reached = torch.stack(steps).sum().exp() if steps else torch.ones((), dtype=torch.float64)
        total = total + reached * (logps[row].exp() * (logps[row] - reference[row])).sum()
    return total


@pytest.fixture(scope="module")
def language_at(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Language]:
    """A policy at some distance from its reference, at a temperature."""
    folder = write_tiny_language(tmp_path_factory.mktemp("language"))
    return cache(lambda temperature: _language(folder, temperature))


@pytest.fixture(scope="module")
def language(language_at: Callable[[float], Language]) -> Language:
    return language_at(1.0)


def _language(folder: Path, temperature: float) -> Language:
    """The directions are the exact gradient's and eleven orthogonal ones."""
    config = TrainConfig(lora_r=0, precision=Precision.FLOAT32)
    policy = load_policy(config, str(folder), pad_id=END, device=CPU)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator))
        plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
        reference = table_of(plain, temperature)
    plain.load_state_dict(policy.model.state_dict())
    parameters = list(plain.parameters())
    logps = table_of(plain, temperature)
    gradient = flat(torch.autograd.grad(exact_kl(logps, reference), parameters, retain_graph=True))
    others = torch.randn(11, len(gradient), generator=generator, dtype=torch.float64)
    directions = torch.linalg.qr(torch.cat([gradient[None], others]).T).Q.T
    scores = [
        directions @ flat(torch.autograd.grad(value, parameters, retain_graph=True))
        for value in logps.flatten()
    ]
    table = torch.stack(scores).view(*logps.shape, -1)
    return Language(policy, logps.detach(), reference, table, directions @ gradient, directions)


def flat(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten().double() for gradient in gradients])


@pytest.fixture(scope="module")
def said(language: Language) -> tuple[Tensor, Tensor]:
    """Sampled responses, as rows and columns of the tables: [responses, tokens], padded with -1."""
    count = 16_000
    with torch.no_grad():
        decoding = language.policy.encode([PROMPT]).decoding([0] * count, LONGEST)
    responses = sample_responses(
        decoding,
        seeds=[derive_seed("said", place) for place in range(count)],
        choice=Choice.same(count, CPU),
        max_new_tokens=[LONGEST] * count,
        stop_ids=frozenset({END}),
    )
    row_of = {prefix: row for row, prefix in enumerate(PREFIXES)}
    rows, tokens = torch.full((count, LONGEST), -1), torch.full((count, LONGEST), -1)
    for place, response in enumerate(responses):
        for at, token in enumerate(response.ids):
            rows[place, at], tokens[place, at] = row_of[tuple(response.ids[:at])], token
    return rows, tokens


def language_estimates(
    language: Language, said: tuple[Tensor, Tensor], loss: Loss, *, k: int = 4
) -> tuple[Tensor, Tensor]:
    rows, tokens = (part.view(-1, k, LONGEST) for part in said)
    there = tokens >= 0
    picked = [table[rows, tokens].masked_fill(~there, 0.0) for table in (language.logps, language.reference)]
    weights = token_weights(loss, *picked).masked_fill(~there, 0.0)
    return (weights[..., None] * language.scores[rows, tokens]).sum(dim=(1, 2)), language.exact


def test_the_sampler_says_what_the_model_would(language: Language, said: tuple[Tensor, Tensor]) -> None:
    """The frequency of every prefix and next token matches its probability (chi-squared, jointly)."""
    rows, tokens = (part.flatten() for part in said)
    counts = torch.zeros_like(language.logps)
    counts.index_put_(
        (rows[rows >= 0], tokens[rows >= 0]), torch.ones((), dtype=torch.float64), accumulate=True
    )
    expected = counts.sum(dim=1, keepdim=True) * language.logps.exp()
    enough = expected > 5
    squared = ((counts - expected) ** 2 / expected)[enough]
    freedom = len(squared) - int(enough.any(dim=1).sum())
    assert freedom > 40
    assert (squared.sum().item() - freedom) / math.sqrt(2 * freedom) < 3


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("loss", OURS)
def test_language_model_gradient_is_unbiased(
    language: Language, said: tuple[Tensor, Tensor], loss: Loss, k: int
) -> None:
    estimates, exact = language_estimates(language, said, loss, k=k)
    assert standard_errors(estimates, exact) < 3
    along = estimates[:, 0]  # the exact gradient's own direction
    error = along.std().item() / math.sqrt(len(along))
    assert abs(along.mean().item() - exact[0].item()) < 3 * error < 0.2 * abs(exact[0].item())


def test_language_model_naive_gradient_is_nothing(language: Language, said: tuple[Tensor, Tensor]) -> None:
    estimates, exact = language_estimates(language, said, naive)
    assert standard_errors(estimates, exact) > 30
    assert standard_errors(estimates, torch.zeros_like(exact)) < 3


def test_a_per_token_product_drops_the_cross_terms(language: Language, said: tuple[Tensor, Tensor]) -> None:
    assert standard_errors(*language_estimates(language, said, token_product)) > 30


def test_variance_on_the_language_model(language: Language, said: tuple[Tensor, Tensor]) -> None:
    """On the same samples the baseline and the reward to go each lower it, both together most."""

    def spread(loss: Loss) -> float:
        return total_variance(language_estimates(language, said, loss)[0])

    plain = spread(without_baseline(sequence_kl_loss))
    assert spread(sequence_kl_loss) < 0.9 * plain
    assert spread(without_baseline(reward_to_go_kl_loss)) < 0.9 * plain
    assert spread(reward_to_go_kl_loss) < 0.9 * spread(sequence_kl_loss)


@pytest.mark.parametrize(
    ("estimator", "temperature"),
    [(KLEstimator.SEQUENCE, 1.0), (KLEstimator.REWARD_TO_GO, 1.0), (KLEstimator.SEQUENCE, 0.7)],
)
def test_steps_of_training_are_unbiased(
    language_at: Callable[[float], Language], estimator: KLEstimator, temperature: float
) -> None:
    """The whole training path: sampled, scored and differentiated by the engine."""
    language, steps, kl_coef = language_at(temperature), 150, 0.5
    pairs = [TokenPair(index, PROMPT, [1 + index % 4, END], [2, END]) for index in range(4)]

    def gradient(method: Method, step: int) -> Tensor:
        config = TrainConfig(
            method=method,
            kl_coef=kl_coef,
            kl_estimator=estimator,
            temperature=temperature,
            num_generations=4,
        )
        objective = make_objective(config, max_new_tokens=LONGEST, stop_ids=frozenset({END}))
        result = objective(
            language.policy, pairs, step=step, reference=None, pair_indices=range(4), watch=lambda: None
        )
        found = torch.autograd.grad(result.loss, language.policy.parameters())
        return language.directions @ flat(found)

    penalties = torch.stack([gradient(Method.HYPO, step) for step in range(steps)]) - gradient(Method.DPO, 0)
    assert standard_errors(penalties / kl_coef, language.exact) < 3
    assert standard_errors(penalties / kl_coef, torch.zeros_like(language.exact)) > 10
