"""The C kernels in float32, compared with torch in float64, which is checked by finite differences."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hypo_engine.cpu import elementwise
from hypo_engine.cpu.skinny_gemm import library
from hypo_engine.forward.fused import RMSNorm, Rotary, SwiGLU

pytestmark = [
    pytest.mark.skipif(library() is None, reason="this machine has no C compiler"),
    pytest.mark.usefixtures("processor"),
]


def random(*shape: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The value, and the gradients of all inputs for a non-uniform upstream gradient."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = function(*leaves)
    (value * torch.linspace(-1, 2, value.numel(), dtype=value.dtype).view_as(value)).sum().backward()
    return [value.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def same(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    expected = gradients(function, *inputs)
    found = gradients(function, *(x.float() for x in inputs))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("shape", [(1, 5, 1), (1, 1, 7), (2, 3, 16), (1, 4, 33), (37, 576)])
def test_rms_norm(shape: tuple[int, ...]) -> None:
    x, weight = random(*shape), random(shape[-1], seed=1)
    assert elementwise.rms_norm(x.float(), weight.float(), 1e-5) is not None
    same(lambda a, b: RMSNorm.apply(a, b, 1e-5), x, weight)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 5), (2, 16), (1, 7, 100)])
def test_swiglu(shape: tuple[int, ...]) -> None:
    gate, up = random(*shape, spread=4), random(*shape, seed=1)
    assert elementwise.swiglu(gate.float(), up.float()) is not None
    same(SwiGLU.apply, gate, up)


def test_swiglu_of_very_large_numbers() -> None:
    gate = torch.tensor([-1e4, -100.0, -87.5, 0.0, 87.5, 100.0, 1e4])
    found = elementwise.swiglu(gate, torch.ones(7))
    assert found is not None
    torch.testing.assert_close(found, torch.nn.functional.silu(gate), atol=1e-30, rtol=1e-6)
    of_gate, of_up = elementwise.swiglu_gradient(torch.ones(7), gate, torch.ones(7)) or (None, None)
    assert of_gate is not None
    torch.testing.assert_close(of_gate, torch.tensor([0, 0, 0, 0.5, 1, 1, 1]), atol=1e-30, rtol=1e-6)
    torch.testing.assert_close(of_up, found)


@pytest.mark.parametrize(("tokens", "heads", "size"), [(1, 1, 2), (5, 3, 8), (9, 2, 64), (4, 1, 34)])
def test_rotary(tokens: int, heads: int, size: int) -> None:
    angles = random(1, tokens, size, seed=1)  # the halves of a wider table, as in transformers
    x = random(1, tokens, heads, size)

    def turned(a: Tensor) -> Tensor:
        cos, sin = (t[..., None, : size // 2] for t in (angles.cos().to(a.dtype), angles.sin().to(a.dtype)))
        assert (elementwise.rotate(a, cos, sin, 1) is None) == (a.dtype == torch.float64)
        return Rotary.apply(a, cos, sin)

    same(turned, x)


def test_what_c_cannot_read_is_left_to_torch() -> None:
    x = torch.ones(2, 4)
    assert elementwise.rms_norm(x.double(), torch.ones(4).double(), 1e-5) is None
    assert elementwise.rms_norm(x.t(), torch.ones(2), 1e-5) is None
    assert elementwise.rms_norm_gradient(x, x.bfloat16(), torch.ones(4), torch.ones(2, 1)) is None
    assert elementwise.swiglu(x, x.bfloat16()) is None
    assert elementwise.swiglu_gradient(x, x.t().contiguous().t(), x) is None
    four = torch.ones(1, 3, 2, 8)
    angles = torch.ones(1, 3, 1, 4)
    assert elementwise.rotate(four, angles.double(), angles, 1) is None
    assert elementwise.rotate(four, angles[:, :1], angles[:, :1], 1) is None
    assert elementwise.rotate(four, angles.transpose(1, 3), angles, 1) is None
