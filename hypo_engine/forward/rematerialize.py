"""Rematerialization: tensors that are cheaper to recompute in the backward pass than to save for it.

The code that computes such a tensor attaches a recipe to it. A layer that would save the tensor as its
input saves the recipe's inputs instead, which the graph holds anyway. The recipe gives the same bits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Recipe:
    """``make(*of)`` recomputes the tensor."""

    make: Callable[..., Tensor]
    of: tuple[Tensor, ...]


def remember(found: Tensor, make: Callable[..., Tensor], *of: Tensor) -> Tensor:
    """Attach a recipe to a tensor in grad mode; returns the tensor."""
    if torch.is_grad_enabled():
        found.recipe = Recipe(make, of)  # type: ignore[attr-defined]
    return found


def recipe_of(tensor: Tensor) -> Recipe:
    """The recipe attached to a tensor, or else a recipe that holds the tensor itself."""
    return getattr(tensor, "recipe", None) or Recipe(_itself, (tensor,))


def _itself(tensor: Tensor) -> Tensor:
    return tensor
