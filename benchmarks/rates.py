"""The machine's peak rates: matrix products of the model's shapes, and sequential memory reads."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.bound import Sizes
from benchmarks.jobs import Job
from benchmarks.meter import now
from hypo_engine.cpu import bf16_gemm
from hypo_engine.cpu.gemm import linear
from hypo_engine.models.load import default_device

_REPEATS = 7
_MOST_TOKENS = 2048
_HEAD_TOKENS = 256


def device(_job: Job) -> dict[str, Any]:
    """The device of the measurements, the accelerator if there is one, and the precisions it is fast in."""
    if torch.cuda.is_available():
        return {"type": "cuda", "name": torch.cuda.get_device_name(), "precisions": ["bfloat16"]}
    precisions = ["float32", "bfloat16"] if bf16_gemm.is_fast() else ["float32"]
    return {"type": "cpu", "name": torch.backends.cpu.get_cpu_capability(), "precisions": precisions}


def rates(job: Job) -> dict[str, Any]:
    """Operations per second over a step's forward and backward products, and bytes read per second.

    For each product the faster of torch and the engine counts. ``job.setting["megabytes"]`` is the size of
    the tensor to read.
    """
    config = json.loads((Path(job.model) / "config.json").read_text(encoding="utf-8"))
    sizes = Sizes.of(config)
    where = default_device()
    dtype = torch.bfloat16 if job.precision == "bfloat16" else torch.float32
    tokens = min(_MOST_TOKENS, job.tokens)
    operations = seconds = 0.0
    products = [(shape, count * sizes.layers, tokens) for shape, count in Counter(sizes.linears).items()]
    products.append(((sizes.vocabulary, sizes.hidden), 1, min(tokens, _HEAD_TOKENS)))
    for (out, into), count, rows in products:
        weight = torch.randn(out, into, device=where, dtype=dtype)
        inputs = torch.randn(rows, into, device=where, dtype=dtype)
        gradients = torch.randn(rows, out, device=where, dtype=dtype)
        operations += count * 4.0 * rows * out * into
        for x, w in ((inputs, weight), (gradients, weight.t())):
            seconds += count * min(_median_seconds(call) for call in _products(x, w))
    numbers = job.setting["megabytes"] * 2**20 // dtype.itemsize
    block = torch.ones(numbers, device=where, dtype=dtype)
    return {
        "operations": operations / seconds,
        "bytes": numbers * dtype.itemsize / _median_seconds(block.sum),
    }


def _products(x: torch.Tensor, w: torch.Tensor) -> tuple[Callable[[], object], ...]:
    """x w^T, computed by torch and by the engine."""
    if w.dtype == torch.float32:
        return lambda: x @ w.t(), lambda: linear(x, w)
    if w.device.type == "cuda":
        return (lambda: x @ w.t(),)
    narrow = bf16_gemm.rounded(x.float())
    return lambda: x @ w.t(), lambda: bf16_gemm.product([(narrow, w)])


def _median_seconds(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(_REPEATS):
        started = now()
        call()
        times.append(now() - started)
    return median(times)
