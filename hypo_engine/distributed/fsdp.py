"""FSDP2: the weights are sharded over the processes, for models that do not fit on one device.

A layer is gathered when it runs and freed afterwards. With LoRA the frozen base is sharded and every
process has the whole adapter; in full fine-tuning gradients and optimiser state are sharded as well.
Checkpoints are written unsharded, so a run may resume with another number of processes, or without
sharding.

Every call of a sharded model involves all processes. All of them run the same number of batches. While one
process still samples responses, those that have finished call the model on a single token to take part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from hypo_engine.models.policy import Policy


def shard_model(model: Any, mesh: DeviceMesh) -> None:
    """Shard each transformer layer and the rest of a model in place; an adapter stays unsharded."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    adapter = {p for p in causal.parameters() if p.requires_grad} if causal is not model else set()
    for parameter in adapter:
        parameter.data = parameter.data.to(mesh.device_type)
    shard = partial(fully_shard, mesh=mesh, ignored_params=adapter)
    for layer in _layers(causal):
        shard(layer)
    shard(causal)
    for module in causal.modules():
        if isinstance(module, FSDPModule):
            # losses are already weighted by their share of the step, so gradients are summed, not averaged
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    causal.register_forward_pre_hook(_LockstepForward(), prepend=True, with_kwargs=True)


@dataclass(frozen=True)
class WholeModel:
    """The gathered weights of a sharded model, with the interface that a checkpoint uses."""

    model: Any
    weights: Mapping[str, Tensor]

    def save_pretrained(self, folder: Path) -> None:
        self.model.save_pretrained(folder, state_dict=dict(self.weights))


@dataclass(frozen=True)
class WholePolicy:
    """The gathered policy, for a checkpoint. Models with a head of ours are never sharded."""

    model: WholeModel
    thinking: bool
    adapted: bool = False
    head: None = None
    value_head: None = None


@dataclass(frozen=True)
class WholeOptimizer:
    """The gathered optimiser state, for a checkpoint."""

    state: dict[str, Any]

    def state_dict(self) -> dict[str, Any]:
        return self.state


def gathered(policy: Policy, optimizer: torch.optim.AdamW) -> tuple[Policy, torch.optim.AdamW]:
    """Gather policy and optimiser for a checkpoint. All processes must call it."""
    if policy.adapted:
        return policy, optimizer  # trained weights are unsharded
    model = policy.model
    once = {name for named in (model.named_parameters(), model.named_buffers()) for name, _ in named}
    weights = {name: _whole(value) for name, value in model.state_dict().items() if name in once}
    state = optimizer.state_dict()
    state["state"] = {
        index: {name: _whole(value) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    return (
        cast(Policy, WholePolicy(WholeModel(model, weights), policy.thinking)),
        cast(torch.optim.AdamW, WholeOptimizer(state)),
    )


def make_mesh(size: int) -> DeviceMesh:
    """A one-dimensional mesh of all processes' devices."""
    return init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (size,))


def _whole(tensor: Tensor) -> Tensor:
    detached = tensor.detach()
    return detached.full_tensor().cpu() if isinstance(detached, DTensor) else detached.cpu()


def _layers(causal: nn.Module) -> list[nn.Module]:
    """The transformer layers: classes that the model declares unsplittable, else its longest module list."""
    names = set(getattr(causal, "_no_split_modules", None) or ())
    layers = [module for module in causal.modules() if type(module).__name__ in names]
    if layers:
        return layers
    lists = [module for module in causal.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len, default=[]))


class _LockstepForward:
    """Takes part, before a sharded model's call, in the calls of processes that are still sampling."""

    def __init__(self) -> None:
        self._alone = True

    @torch.no_grad()
    def __call__(self, model: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if not self._alone:
            return
        writing = kwargs.get("past_key_values") is not None
        while _anywhere(writing) and not writing:
            token = torch.zeros((1, 1), dtype=torch.long, device=kwargs["input_ids"].device)
            self._alone = False
            try:
                model(input_ids=token, attention_mask=token + 1, position_ids=token, use_cache=False)
            finally:
                self._alone = True


def _anywhere(writing: bool) -> bool:
    flag = torch.tensor(int(writing))
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)
