import pytest
import torch
import torch.nn.functional as F

from hypo_engine.forward import logprobs
from hypo_engine.forward.logprobs import TokenLogps, pad, selected_logps


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients_are_log_softmax(monkeypatch: pytest.MonkeyPatch, temperature: float) -> None:
    monkeypatch.setattr(logprobs, "_CHUNK_ELEMENTS", 60)  # several chunks
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(3, 5, 20, generator=generator) * 4).requires_grad_()
    targets = torch.randint(20, (3, 5), generator=generator)
    weights = torch.randn(3, 5, generator=generator)
    expected = (logits / temperature).log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    found = selected_logps(logits, targets, temperature)
    torch.testing.assert_close(found, expected)
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), logits)
    (gradient,) = torch.autograd.grad((found * weights).sum(), logits)
    torch.testing.assert_close(gradient, expected_gradient)


def test_a_temperature_for_each_row() -> None:
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(2, 3, dtype=torch.long)
    found = selected_logps(logits, targets, torch.tensor([[1.0], [2.0]]))
    torch.testing.assert_close(found[0], selected_logps(logits[0], targets[0]))
    torch.testing.assert_close(found[1], selected_logps(logits[1], targets[1], 2.0))


def test_half_precision_logits_are_normalised_in_float32() -> None:
    logits = (torch.randn(4, 5000, generator=torch.Generator().manual_seed(0)) * 3).bfloat16()
    targets = torch.arange(4)
    found = selected_logps(logits, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, logits.float().log_softmax(-1)[targets, targets])
    in_half = logits.log_softmax(-1)[targets, targets].float()
    assert (found - in_half).abs().max() > 1e-3  # the error of half precision


def test_padding_left_and_right() -> None:
    ids, mask = pad([[1, 2], [3]], 9, torch.device("cpu"))
    assert ids.tolist() == [[1, 2], [3, 9]]
    assert mask.tolist() == [[True, True], [True, False]]
    ids, mask = pad([[1, 2], [3]], 9, torch.device("cpu"), left=True)
    assert ids.tolist() == [[1, 2], [9, 3]]
    assert mask.tolist() == [[True, True], [False, True]]


def test_sums_and_rows() -> None:
    logps = TokenLogps(torch.tensor([[-1.0, -2.0], [-3.0, 0.0]]), torch.tensor([[True, True], [True, False]]))
    assert logps.sums().tolist() == [-3.0, -3.0]
    assert logps.rows(slice(1, 2)).values.tolist() == [[-3.0, 0.0]]


def test_a_sum_does_not_depend_on_the_padding() -> None:
    """Policy and reference are padded to other lengths; in the first step their sums are the same bits."""
    for seed in range(20):
        own = -3 * torch.rand(2, 37, generator=torch.Generator().manual_seed(seed))
        sums = [
            TokenLogps(F.pad(own, (0, more)), F.pad(torch.ones(2, 37, dtype=torch.bool), (0, more))).sums()
            for more in range(60)
        ]
        assert all(torch.equal(found, sums[0]) for found in sums)
