"""Low-rank adapters in C, compared with float64: merged weights and gradients."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hypo_engine.cpu import lora
from hypo_engine.cpu.skinny_gemm import library

pytestmark = pytest.mark.skipif(library() is None, reason="this machine has no C compiler")

SIZES = st.tuples(st.integers(1, 140), st.integers(1, 70))
"""Numbers of tokens and inputs."""
LAYERS = st.lists(st.tuples(st.integers(1, 70), st.integers(1, 40)), min_size=1, max_size=3)
"""Outputs and ranks of layers with the same input."""


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, expected: Tensor, depth: int) -> None:
    torch.testing.assert_close(found.double(), expected, atol=1e-5 * depth, rtol=1e-5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=SIZES, layers=LAYERS, threads=st.integers(1, 3))
def test_gradients_of_any_size(
    processor: None, sizes: tuple[int, int], layers: list[tuple[int, int]], threads: int
) -> None:
    tokens, ins = sizes
    x = random(tokens, ins, seed=0)
    upstream = [random(tokens, outs, seed=1 + i) for i, (outs, _) in enumerate(layers)]
    a = [random(rank, ins, seed=11 + i) for i, (_, rank) in enumerate(layers)]
    b = [random(outs, rank, seed=21 + i) for i, (outs, rank) in enumerate(layers)]
    scales = [0.5 + i for i in range(len(layers))]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = lora.gradients(x, upstream, a, b, scales)
    finally:
        torch.set_num_threads(before)
    assert found is not None
    for of_a, of_b, g, down, up, scale in zip(*found, upstream, a, b, scales, strict=True):
        low, read = g.double() @ up.double(), x.double() @ down.double().t()
        close(of_a, scale * low.t() @ x.double(), tokens)
        close(of_b, scale * g.double().t() @ read, tokens)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outs=st.integers(1, 70), ins=st.integers(1, 70), rank=st.integers(1, 40), threads=st.integers(1, 3))
def test_merging_any_size(processor: None, outs: int, ins: int, rank: int, threads: int) -> None:
    base, a, b = random(outs, ins, seed=0), random(rank, ins, seed=1), random(outs, rank, seed=2)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = lora.merge(base, a, b, 1.5)
        place = torch.empty_like(base)
        assert lora.merge(base, a, b, 1.5, place) is place
    finally:
        torch.set_num_threads(before)
    close(found, base.double() + 1.5 * b.double() @ a.double(), rank)
    assert torch.equal(place, found)  # a resumed run starts with a new tensor


def test_what_c_cannot_read_is_left_to_torch() -> None:
    x, g, a, b = random(4, 6, seed=0), random(4, 5, seed=1), random(2, 6, seed=2), random(5, 2, seed=3)
    assert lora.gradients(x.double(), [g], [a], [b], [1.0]) is None
    assert lora.gradients(random(6, 4, seed=0).t(), [g], [a], [b], [1.0]) is None
    base = random(5, 6, seed=4)
    doubled = lora.merge(base.double(), a.double(), b.double(), 1.0)
    torch.testing.assert_close(doubled, base.double() + b.double() @ a.double())
