"""Each fused kernel, compared with the plain formula: values, and gradients by finite differences."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hypo_engine.forward.fused import RMSNorm, Rotary, SwiGLU, fuse
from hypo_engine.models.load import load_model


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def test_rms_norm() -> None:
    x, weight = random(1, 3, 8), random(8, seed=1)
    expected = x / (x.pow(2).mean(-1, keepdim=True) + 1e-3).sqrt() * weight
    torch.testing.assert_close(RMSNorm.apply(x, weight, 1e-3), expected)
    torch.testing.assert_close(RMSNorm.compute(x, weight, 1e-3), expected)
    assert torch.autograd.gradcheck(lambda a, b: RMSNorm.apply(a, b, 1e-3), (x, weight))


def test_swiglu() -> None:
    gate, up = random(1, 4, 5), random(1, 4, 5, seed=1)
    torch.testing.assert_close(SwiGLU.apply(gate, up), F.silu(gate) * up)
    torch.testing.assert_close(SwiGLU.compute(gate, up), F.silu(gate) * up)
    assert torch.autograd.gradcheck(SwiGLU.apply, (gate, up))


def test_rotary() -> None:
    x, angle = random(1, 3, 2, 8), random(1, 3, 1, 4, seed=1).detach()
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat(
        [
            first * angle.cos() - second * angle.sin(),
            second * angle.cos() + first * angle.sin(),
        ],
        dim=-1,
    )
    torch.testing.assert_close(Rotary.apply(x, angle.cos(), angle.sin()), turned)
    torch.testing.assert_close(Rotary.compute(x.detach(), angle.cos(), angle.sin()), turned)
    assert torch.autograd.gradcheck(lambda a: Rotary.apply(a, angle.cos(), angle.sin()), (x,))


@pytest.mark.parametrize(
    ("architecture", "kinds"),
    [
        ("llama", {"LlamaRMSNorm", "LlamaMLP", "LlamaAttention"}),
        ("qwen2", {"Qwen2RMSNorm", "Qwen2MLP", "Qwen2Attention"}),
        ("gpt2", set()),
        ("gpt_neox", set()),
        ("gemma2", set()),  # its norm adds one to the weight, its gate is a GELU
    ],
)
def test_only_what_is_known_is_replaced_and_comes_back(
    tiny: Callable[[str], Path], architecture: str, kinds: set[str]
) -> None:
    model = load_model(str(tiny(architecture)), dtype=torch.float32, device=torch.device("cpu"))
    ids = torch.arange(3, 15)[None]
    with torch.no_grad():
        before = model(ids).logits
        undo = fuse(model)
        replaced = {type(m).__name__ for m in model.modules() if "forward" in vars(m)}
        during = model(ids).logits
        undo()
        after = model(ids).logits
    assert replaced == kinds
    torch.testing.assert_close(during, before, atol=1e-5, rtol=1e-5)
    assert torch.equal(after, before)
    assert not any("forward" in vars(m) for m in model.modules())
