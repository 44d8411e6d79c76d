"""Tensors that are cheaper to make again in the backward pass than to keep for it: a norm's result, a gate's.

Who makes such a tensor ties a recipe to it; a layer that would keep the tensor as its input keeps what the
recipe needs instead, which other parts of the graph hold anyway. Making it again gives the same bits.
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
    """Tie to a tensor how it was made, if there will be a backward pass; returns the tensor."""
    if torch.is_grad_enabled():
        found.recipe = Recipe(make, of)  # type: ignore[attr-defined]
    return found


def recipe_of(tensor: Tensor) -> Recipe:
    """How a tensor can be had again; where nobody said, by keeping it."""
    return getattr(tensor, "recipe", None) or Recipe(_itself, (tensor,))


def _itself(tensor: Tensor) -> Tensor:
    return tensor
