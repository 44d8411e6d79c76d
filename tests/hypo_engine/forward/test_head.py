"""The chunked head, compared with log_softmax on all logits at once."""

import pytest
import torch
from torch import Tensor

from hypo_engine.forward import head as head_module
from hypo_engine.forward.head import Head

TOKENS, HIDDEN, VOCABULARY = 7, 6, 11


def plain(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, softcap: float | None, scale: Tensor
) -> Tensor:
    logits = hidden @ weight.t() + (0 if bias is None else bias)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return (logits * scale[:, None]).log_softmax(dim=-1)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_values_and_gradients(
    monkeypatch: pytest.MonkeyPatch, trained: bool, softcap: float | None, biased: bool, rows: int
) -> None:
    monkeypatch.setattr(head_module, "_CHUNK_ELEMENTS", rows * VOCABULARY)
    monkeypatch.setattr(head_module, "_BLOCK_ELEMENTS", 3 * rows * TOKENS)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator).requires_grad_()
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator).requires_grad_(trained)
    bias = torch.randn(VOCABULARY, generator=generator).requires_grad_(trained) if biased else None
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    scale = torch.rand(TOKENS, generator=generator) + 0.5
    upstream = torch.randn(TOKENS, generator=generator)
    wanted = [x for x in (hidden, weight, bias) if x is not None and x.requires_grad]

    found = Head(weight, bias, softcap).logps(hidden, targets, scale)
    gradients = torch.autograd.grad(found, wanted, upstream)
    expected = plain(hidden, weight, bias, softcap, scale).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, wanted, upstream), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_normalization_is_in_float32_for_half_precision() -> None:
    """Guards against a log-softmax in bfloat16, which is off by several hundredths."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator).bfloat16()
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator).bfloat16()
    targets, ones = torch.arange(TOKENS), torch.ones(TOKENS)
    found = Head(weight).logps(hidden, targets, ones)
    exact = (hidden @ weight.t()).float().log_softmax(dim=-1).gather(1, targets[:, None])[:, 0]
    rough = (hidden @ weight.t()).log_softmax(dim=-1).gather(1, targets[:, None])[:, 0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=1e-6, rtol=1e-6)
    assert (rough.float() - exact).abs().max() > 1e-3


def test_nothing_of_the_size_of_all_logits_is_kept() -> None:
    hidden = torch.randn(TOKENS, HIDDEN).requires_grad_()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        Head(torch.randn(10_000, HIDDEN)).logps(hidden, torch.arange(TOKENS), torch.ones(TOKENS))
    assert TOKENS * 10_000 not in kept
    assert TOKENS * HIDDEN in kept


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 16, 17])
def test_logits(softcap: float | None, biased: bool, rows: int) -> None:
    """A plain head uses a different path for few rows."""
    generator = torch.Generator().manual_seed(0)
    weight, hidden = (torch.randn(n, HIDDEN, generator=generator) for n in (VOCABULARY, rows))
    bias = torch.randn(VOCABULARY, generator=generator) if biased else None
    expected = torch.nn.functional.linear(
        hidden.double(), weight.double(), None if bias is None else bias.double()
    )
    if softcap:
        expected = softcap * (expected / softcap).tanh()
    found = Head(weight.requires_grad_(), bias, softcap).logits(hidden)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    assert not found.requires_grad


@pytest.mark.parametrize("trained", [False, True])
def test_gradients_of_what_is_almost_certain_in_bfloat16(trained: bool) -> None:
    """Guards against rounding p near one to one, which leaves only rounding errors in the gradient."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator).bfloat16()
    hidden = (12 / weight[3].float().square().sum() * weight[3].float()).bfloat16()[None]
    exact = [t.double().requires_grad_() for t in (hidden, weight)]
    logps = torch.nn.functional.linear(*exact).log_softmax(dim=-1)[0, 3]
    logps.backward()
    assert 0.99 < logps.exp() < 0.9999
    hidden.requires_grad_()
    weight.requires_grad_(trained)
    Head(weight).logps(hidden, torch.tensor([3]), torch.ones(1)).sum().backward()
    for found, expected in zip((hidden, weight) if trained else (hidden,), exact, strict=False):
        error = (found.grad.double() - expected.grad).norm() / expected.grad.norm()
        assert error < 0.15


@pytest.mark.parametrize("width", [1, 2, 3, 11])
@pytest.mark.parametrize("spread", [1.0, 60.0])
def test_a_softmax_made_block_by_block(monkeypatch: pytest.MonkeyPatch, width: int, spread: float) -> None:
    """Later blocks have higher or lower logits, also near certainty; compared with float64."""
    generator = torch.Generator().manual_seed(1)
    hidden, weight = (torch.randn(n, HIDDEN, generator=generator) for n in (TOKENS, VOCABULARY))
    hidden, targets, scale = hidden * spread, torch.arange(TOKENS), torch.linspace(0.5, 2, TOKENS)
    exact = hidden.double().requires_grad_()
    expected = plain(exact, weight.double(), None, None, scale).gather(1, targets[:, None])[:, 0]
    (gradient,) = torch.autograd.grad(expected.sum(), exact)

    monkeypatch.setattr(head_module, "_BLOCK_ELEMENTS", width * TOKENS)
    hidden.requires_grad_()
    found = Head(weight).logps(hidden, targets, scale)
    found.sum().backward()
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(hidden.grad.double(), gradient, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert torch.equal(Head(weight).logps(hidden, targets, scale), found)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_does_not_get_lost(monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    """A non-finite weight in any block makes the loss non-finite, as in log_softmax."""
    monkeypatch.setattr(head_module, "_BLOCK_ELEMENTS", 4 * TOKENS)
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, HIDDEN, generator=generator) for n in (TOKENS, VOCABULARY))
    weight[9, 2] = bad
    found = Head(weight).logps(hidden, torch.zeros(TOKENS, dtype=torch.int64), torch.ones(TOKENS))
    assert not found.isfinite().all()
