"""AdamW and gradient clipping, for sharded parameters too."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def make_optimizer(
    parameters: list[nn.Parameter], *, learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW in float32, with weight decay on matrices only."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=learning_rate, betas=(0.9, 0.999), fused=True
    )


def clip_gradients(parameters: Sequence[nn.Parameter], max_norm: float) -> Tensor:
    """Clip gradients to ``max_norm`` and return their norm before clipping."""
    return nn.utils.clip_grad_norm_(parameters, max_norm)


def shard_optimizer(
    optimizer: torch.optim.AdamW, before: list[nn.Parameter], after: list[nn.Parameter]
) -> torch.optim.AdamW:
    """An optimiser for the sharded parameters, with the state of the given one."""
    usual = optimizer.defaults
    decay = max(group["weight_decay"] for group in optimizer.param_groups)
    sharded = make_optimizer(after, learning_rate=usual["lr"], weight_decay=decay)
    for old, new in zip(before, after, strict=True):
        if state := optimizer.state.get(old):
            sharded.state[new] = {name: _placed(value, new) for name, value in state.items()}
    return sharded


def _placed(value: Tensor, like: nn.Parameter) -> Tensor:
    """A parameter's state, sharded and placed like the parameter; every process has the whole state."""
    if isinstance(like, DTensor) and value.shape == like.shape:
        mesh = like.device_mesh
        return distribute_tensor(value.to(mesh.device_type), mesh, like.placements, src_data_rank=None)
    return value.to(like.device)
