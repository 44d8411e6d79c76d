"""Skinny GEMM: a few rows times a large matrix, bound by reading the matrix."""

import ctypes
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from hypo_engine.cpu import bf16_gemm
from hypo_engine.cpu.compiler import compiled

FEW = 16
"""Up to this many rows, reading the matrix takes longer than the arithmetic."""


def library(dtype: torch.dtype = torch.float32) -> ctypes.CDLL | None:
    """The compiled decoding step for weights of a dtype; None on a machine that has none."""
    if dtype == torch.bfloat16:
        return compiled("decode_step_bf16.c") if bf16_gemm.is_fast() else None
    return compiled("decode_step.c")


def is_float(tensor: Tensor) -> bool:
    """Whether a tensor is contiguous float32 on the CPU."""
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous()


def product(x: Tensor, w: Tensor) -> Tensor | None:
    """x [rows, depth] times w [outs, depth] transposed, without autograd; None where torch has to."""
    if len(x) > FEW or x.shape[1] != w.shape[1] or not is_float(x) or not is_float(w):
        return None
    found = library()
    if found is None:
        return None
    y = torch.empty(len(x), len(w))
    matrix, sizes = (c_void_p(x.data_ptr()), c_void_p(w.data_ptr())), (c_int64(w.shape[1]), c_int64(len(w)))
    found.hypo_product(len(x), *matrix, *sizes, c_void_p(y.data_ptr()), torch.get_num_threads())
    return y
