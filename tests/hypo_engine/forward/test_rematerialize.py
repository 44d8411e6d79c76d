"""Tensors that a merged adapter's layers recompute instead of keeping."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hypo_engine.forward.fused import fuse
from hypo_engine.forward.merged_lora import MergedLora
from hypo_engine.forward.rematerialize import recipe_of, remember
from hypo_engine.models.adapters import attach_lora
from hypo_engine.models.load import load_model

IDS = torch.tensor([[5, 90, 33, 7, 200, 41, 18, 60, 61]])


def test_a_recipe_gives_the_tensor_again() -> None:
    x = torch.arange(4.0)
    made = remember(x * 2, lambda a: a * 2, x)
    recipe = recipe_of(made)
    assert recipe.of == (x,)
    assert torch.equal(recipe.make(*recipe.of), made)
    own = recipe_of(x)
    assert own.make(*own.of) is x


def test_without_a_graph_nothing_is_held() -> None:
    x = torch.arange(4.0)
    with torch.no_grad():
        made = remember(x * 2, lambda a: a * 2, x)
    assert recipe_of(made).of == (made,)


def test_norms_and_gates_are_not_kept(tiny: Callable[[str], Path], monkeypatch: Any) -> None:
    """Bitwise the same gradients, with three tensors fewer per layer."""
    gradients, kept = [], []
    for remade in (False, True):
        if not remade:
            monkeypatch.setattr("hypo_engine.forward.fused.remember", lambda found, *_: found)
        else:
            monkeypatch.undo()
        base = load_model(str(tiny("llama")), dtype=torch.float32, device=torch.device("cpu"))
        model = attach_lora(base, rank=3, alpha=8, target_modules="all-linear", seed=0, base_name="x")
        MergedLora(model)
        fuse(model)
        saved: dict[int, int] = {}
        alive: list[Tensor] = []

        def pack(x: Tensor, saved: dict[int, int] = saved, alive: list[Tensor] = alive) -> Tensor:
            saved[x.data_ptr()] = x.numel()
            alive.append(x)
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            loss = model(input_ids=IDS).logits.square().mean()
        loss.backward()
        kept.append(sum(saved.values()))
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    config = model.config
    a_layer = IDS.numel() * (2 * config.hidden_size + config.intermediate_size)
    # the first norm's input needs no gradient and was not kept before: its input and weight are added
    first = (IDS.numel() + 1) * config.hidden_size
    assert kept[0] - kept[1] == config.num_hidden_layers * a_layer - first
