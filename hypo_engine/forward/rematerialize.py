"""Rematerialization: tensors that are cheaper to make again in the backward pass than to keep for it.

The code that makes such a tensor attaches a recipe to it. A layer that would keep the tensor as its input
keeps the recipe's inputs instead, which other parts of the graph hold anyway. The recipe gives the same bits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Recipe:
    """``make(*of)`` gives the tensor."""

    make: Callable[..., Tensor]
    of: tuple[Tensor, ...]


def remember(found: Tensor, make: Callable[..., Tensor], *of: Tensor) -> Tensor:
    """Attach a recipe to a tensor, if there will be a backward pass; returns the tensor."""
    if torch.is_grad_enabled():
        found.recipe = Recipe(make, of)  # type: ignore[attr-defined]
    return found


def recipe_of(tensor: Tensor) -> Recipe:
    """The recipe of a tensor; without one attached, a recipe that keeps the tensor itself."""
    return getattr(tensor, "recipe", None) or Recipe(_itself, (tensor,))


def _itself(tensor: Tensor) -> Tensor:
    return tensor
