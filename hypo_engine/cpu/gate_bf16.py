"""SwiGLU of matrices rounded to bfloat16, computed in float32 (gate_bf16.c); the processor has AMX."""

import ctypes

import torch

from hypo_engine.cpu.bf16_gemm import Rounded, is_fast, unset
from hypo_engine.cpu.compiler import compiled


def is_available() -> bool:
    """Whether these functions can be called."""
    return is_fast() and compiled("gate_bf16.c") is not None


def swiglu(gate: Rounded, up: Rounded) -> Rounded:
    """silu(gate) * up."""
    found = unset(gate.rows, gate.depth)
    _call("hypo_narrow_swiglu", [gate, up], [found])
    return found


def swiglu_gradient(upstream: Rounded, gate: Rounded, up: Rounded) -> tuple[Rounded, Rounded]:
    """The gradients of gate and up."""
    of_gate, of_up = unset(gate.rows, gate.depth), unset(up.rows, up.depth)
    _call("hypo_narrow_swiglu_gradient", [upstream, gate, up], [of_gate, of_up])
    return of_gate, of_up


def _call(name: str, inputs: list[Rounded], outputs: list[Rounded]) -> None:
    library = compiled("gate_bf16.c")
    assert library is not None
    pointers = ([ctypes.c_void_p(matrix.padded.data_ptr()) for matrix in part] for part in (inputs, outputs))
    first, then = pointers
    count = ctypes.c_int64(inputs[0].padded.numel())
    getattr(library, name)(*first, count, *then, torch.get_num_threads())
