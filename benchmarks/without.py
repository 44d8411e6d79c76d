"""Switch off one C part of the engine in this process, to measure its effect.

The part's torch fallback is used, as on a machine without a compiler.
"""

from collections.abc import Callable, Mapping
from typing import Any

PARTS = ("decode_step", "attention", "elementwise", "head", "lora", "gemm", "pool")
"""Parts by name: a kernel file of ``hypo_engine/cpu``, the blockwise head, or the memory pool."""


def switch_off(part: str) -> None:
    """Replace a part by its torch fallback for the rest of this process.

    Raises:
        KeyError: no part has this name.
    """
    for owner, functions in replacements()[part]:
        for name, fallback in functions.items():
            setattr(owner, name, fallback)


def replacements() -> dict[str, list[tuple[Any, Mapping[str, Callable[..., Any]]]]]:
    """The functions to replace for each part: their owner, their names and their replacements."""
    import torch

    from hypo_engine.cpu import attention, elementwise, gemm, lora, pool, skinny_gemm
    from hypo_engine.decoding import cpu_step

    kernels = ("rms_norm", "rms_norm_gradient", "swiglu", "swiglu_gradient", "rotate")
    return {
        "decode_step": [(skinny_gemm, {"library": _nothing}), (cpu_step, {"library": _nothing})],
        "attention": [(attention, {"_library": _nothing})],
        "elementwise": [(elementwise, dict.fromkeys(kernels, _nothing))],
        "head": [(elementwise.BlockwiseSoftmax, {"serves": _never})],
        "lora": [(lora, {"_library": _nothing})],
        "gemm": [(gemm, {"_own": _nothing})],
        "pool": [(pool.POOL, {"empty": torch.empty})],
    }


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _never(*_: Any) -> bool:
    return False
