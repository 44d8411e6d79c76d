"""Linear layers whose frozen weights are held in 4 bits: NF4 with double quantisation (arXiv 2305.14314).

The kernels are those of bitsandbytes, an optional package. A layer multiplies by its weight after expanding
it, so a pass over the model takes one expanded matrix at a time, and products keep the model's dtype.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hypo_engine.errors import ConfigError, needs_bitsandbytes

_SETTINGS = {"compress_statistics": True, "quant_type": "nf4"}


def require_bitsandbytes(what: str) -> None:
    """Refuse what needs 4-bit weights where they cannot be computed.

    Args:
        what: What needs them, to begin the sentence.

    Raises:
        ConfigError: bitsandbytes is not installed, or does not work here.
    """
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise ConfigError(needs_bitsandbytes(what)) from error
    except Exception as error:  # it loads libraries for the accelerator that it finds
        raise ConfigError(
            f"{what} needs the package bitsandbytes, which does not start here ({str(error)[:200]}); "
            "install a version for this machine."
        ) from error


def is_four_bit(layer: Any) -> bool:
    """Whether a module is a linear layer whose weight is held in 4 bits; LoRA's wrapper around one is not."""
    loaded = sys.modules.get("bitsandbytes")
    return loaded is not None and isinstance(layer, loaded.nn.Linear4bit)


def in_four_bit(layer: nn.Linear, *, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """A frozen copy of a linear layer with its weight in 4 bits.

    Args:
        dtype: That the layer computes in.
        device: Of the copy.
    """
    from bitsandbytes.nn import Linear4bit, Params4bit

    outputs, inputs = layer.weight.shape
    found: Any = Linear4bit(
        inputs, outputs, layer.bias is not None, compute_dtype=dtype, device="meta", **_SETTINGS
    )
    found.support_avx512bf16_for_cpu = False  # it would repack the weight without gradients, in bfloat16
    weight = layer.weight.detach().to(device)
    found.weight = Params4bit(weight, requires_grad=False, module=found, **_SETTINGS).to(device)
    found.weight.quant_state.dtype = dtype
    if layer.bias is not None:
        bias = layer.bias.detach().to(device=device, dtype=dtype)
        found.bias = nn.Parameter(bias, requires_grad=False)
    return found.train(layer.training)  # type: ignore[no-any-return]


def weight_of(layer: Any) -> Tensor:
    """The weight that a 4-bit layer multiplies by, [outputs, inputs] float32."""
    from bitsandbytes.functional import dequantize_4bit

    found: Tensor = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return found.float()


def through_four_bit(weight: Tensor) -> Tensor:
    """A weight [outputs, inputs] as 4 bits hold it, in float32."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    found: Tensor = dequantize_4bit(*quantize_4bit(weight.float().contiguous(), **_SETTINGS))
    return found


@contextmanager
def computing_in_float32(module: nn.Module) -> Iterator[None]:
    """A scope in which the 4-bit layers of a module compute in float32."""
    layers: list[Any] = [layer for layer in module.modules() if is_four_bit(layer)]
    before = [(layer, layer.compute_dtype) for layer in layers]
    for layer, _ in before:
        layer.compute_dtype = torch.float32
    try:
        yield
    finally:
        for layer, dtype in before:
            layer.compute_dtype = dtype
