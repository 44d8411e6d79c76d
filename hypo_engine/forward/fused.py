"""Fused float32 forms of three small operations that many models share.

RMS norm, rotary embedding and the SwiGLU gate give the results of transformers' modules with fewer passes
over memory and fewer tensors saved for the backward pass. A module is replaced on the given model only if
its class is known and the results agree with its own.
"""

from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hypo_engine.cpu import elementwise
from hypo_engine.forward.interface import attend
from hypo_engine.forward.rematerialize import remember

_TRIED = 1e-5


def fuse(model: Any) -> Callable[[], None]:
    """Replace what can be replaced on a float32 model; returns what puts everything back."""
    replaced = []
    for module in model.modules():
        name = type(module).__name__
        if name.endswith("RMSNorm") and _same(module, _norm):
            module.forward = MethodType(_norm, module)
        elif name.endswith("MLP") and _has(module, "gate_proj", "up_proj", "down_proj") and _is_silu(module):
            module.forward = MethodType(_swiglu, module)
        elif name in _ROTARY:
            module.forward = MethodType(_rotary_attention, module)
        else:
            continue
        replaced.append(module)

    def undo() -> None:
        for module in replaced:
            del module.forward

    return undo


_ROTARY = frozenset({"LlamaAttention", "Qwen2Attention"})
"""Attention classes with four projections, rotary embedding on whole heads, and nothing in between."""


def _has(module: Any, *names: str) -> bool:
    return all(isinstance(getattr(module, name, None), nn.Module) for name in names)


def _is_silu(module: Any) -> bool:
    tried = torch.linspace(-3, 3, 7)
    activation = getattr(module, "act_fn", None)
    return activation is not None and torch.allclose(activation(tried), F.silu(tried))


@torch.no_grad()
def _same(module: Any, lean_forward: Any) -> bool:
    """Whether a norm's fused form agrees with the module."""
    weight = getattr(module, "weight", None)
    if not hasattr(module, "variance_epsilon") or weight is None or weight.dtype != torch.float32:
        return False
    tried = torch.linspace(-2, 3, 4 * len(weight), device=weight.device).view(4, -1)
    return torch.allclose(module(tried), lean_forward(module, tried), rtol=_TRIED, atol=_TRIED)


def _norm(module: Any, hidden_states: Tensor) -> Tensor:
    weight, eps = module.weight, module.variance_epsilon
    found = _apply(RMSNorm, hidden_states, weight, eps)
    return remember(found, partial(RMSNorm.compute, eps=eps), hidden_states, weight)


def _swiglu(module: Any, x: Tensor) -> Tensor:
    whole = vars(module).get("gated")  # of :mod:`.mixed_lora`
    if whole is not None and (computed := whole(x)) is not None:
        return cast(Tensor, computed)
    gated = _side_by_side(module, x, "gate_proj", "up_proj")
    found: Tensor = module.down_proj(remember(_apply(SwiGLU, *gated), SwiGLU.compute, *gated))
    return found


def _side_by_side(module: Any, x: Tensor, *names: str) -> tuple[Tensor, ...]:
    """The outputs of layers that read the same input; :mod:`.merged_lora` runs them as one."""
    joint = vars(module).get("joint")
    return joint(x) if joint else tuple(getattr(module, name)(x) for name in names)


def _apply(function: Any, *arguments: Any) -> Tensor:
    """Apply an autograd function; without grad mode, its plain computation, which has less overhead."""
    if torch.is_grad_enabled():
        found: Tensor = function.apply(*arguments)
        return found
    computed: Tensor = function.compute(*arguments)
    return computed


def _rotary_attention(
    module: Any, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], **others: Any
) -> tuple[Tensor, Any]:
    """The forward of an attention module on packed rows; other calls use the module's own."""
    if others.get("tree") is None:
        found: tuple[Tensor, Any] = type(module).forward(
            module, hidden_states=hidden_states, position_embeddings=position_embeddings, **others
        )
        return found
    others.pop("past_key_values", None)
    shape = (*hidden_states.shape[:-1], -1, module.head_dim)
    cos, sin = (x[..., None, : module.head_dim // 2] for x in position_embeddings)
    query, key, value = (
        part.view(shape) for part in _side_by_side(module, hidden_states, "q_proj", "k_proj", "v_proj")
    )
    query, key = _apply(Rotary, query, cos, sin), _apply(Rotary, key, cos, sin)
    window = getattr(module, "sliding_window", None)
    attended, _ = attend(
        module,
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        others.pop("attention_mask", None),
        scaling=module.scaling,
        sliding_window=window,
        **others,
    )
    projected: Tensor = module.o_proj(attended.flatten(-2))
    return projected, None


class RMSNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich, arXiv 1910.07467)."""

    @staticmethod
    def compute(x: Tensor, weight: Tensor, eps: float) -> Tensor:
        return _normed(x, weight, eps)[0]

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        found, inverse = _normed(x, weight, eps)
        ctx.save_for_backward(x, weight, inverse)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, weight, inverse = ctx.saved_tensors
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = (upstream * x * inverse).flatten(0, -2).sum(dim=0)
        found = elementwise.rms_norm_gradient(upstream, x, weight, inverse)
        if found is not None:
            return found, of_weight, None
        scaled = upstream * weight
        along = torch.linalg.vecdot(scaled, x).unsqueeze(-1)
        along.mul_(inverse).mul_(inverse).div_(-x.shape[-1])
        return torch.addcmul(scaled, x, along).mul_(inverse), of_weight, None


class SwiGLU(torch.autograd.Function):
    """silu(gate) * up (Shazeer, arXiv 2002.05202); the activation is recomputed in the backward pass."""

    @staticmethod
    def compute(gate: Tensor, up: Tensor) -> Tensor:
        found = elementwise.swiglu(gate, up)
        return F.silu(gate).mul_(up) if found is None else found

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return SwiGLU.compute(gate, up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        found = elementwise.swiglu_gradient(upstream, gate, up)
        if found is not None:
            return found
        of_gate = torch.ops.aten.silu_backward(upstream * up, gate)
        return of_gate, F.silu(gate).mul_(upstream)


class Rotary(torch.autograd.Function):
    """Rotary embedding, half-rotation form (Su et al., arXiv 2104.09864).

    x: [..., heads, size]; cos and sin: [..., 1, size / 2].
    """

    @staticmethod
    def compute(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return _rotate(x, cos, sin, 1)

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotate(upstream, cos, sin, -1), None, None


def _normed(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The normalized x, and the inverse of its root mean square [..., 1]."""
    found = elementwise.rms_norm(x, weight, eps)
    if found is not None:
        return found
    inverse = _inverse_norm(x, eps)
    return (x * inverse).mul_(weight), inverse


def _inverse_norm(x: Tensor, eps: float) -> Tensor:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse: Tensor = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    return inverse


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor:
    turned = elementwise.rotate(x, cos, sin, direction)
    if turned is not None:
        return turned
    found = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    (first, second), (to_first, to_second) = x.chunk(2, dim=-1), found.chunk(2, dim=-1)
    torch.mul(first, cos, out=to_first).addcmul_(second, sin, value=-direction)
    torch.mul(second, cos, out=to_second).addcmul_(first, sin, value=direction)
    return found
