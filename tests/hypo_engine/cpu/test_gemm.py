"""Large matrix products in C, compared with float64, for any processor vendor."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hypo_engine.cpu import gemm
from hypo_engine.cpu.gemm import add_linear, linear
from hypo_engine.cpu.skinny_gemm import library

needs_compiler = pytest.mark.skipif(library() is None, reason="this machine has no C compiler")


@pytest.fixture
def own(processor: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use gemm.c for every size and any processor vendor."""
    monkeypatch.setattr(gemm, "is_amd", lambda: True)
    monkeypatch.setattr(gemm, "_LEAST", 0)
    gemm._own.cache_clear()
    assert gemm._own() is not None
    yield
    gemm._own.cache_clear()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, expected: Tensor, depth: int) -> None:
    torch.testing.assert_close(found.double(), expected, atol=1e-5 * depth**0.5, rtol=1e-5)


SIZES = st.tuples(
    st.integers(1, 70), st.integers(1, 70), st.one_of(st.integers(1, 50), st.integers(380, 800))
)


@needs_compiler
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=SIZES, across=st.booleans(), biased=st.booleans(), threads=st.integers(1, 3))
def test_any_size(own: None, sizes: tuple[int, int, int], across: bool, biased: bool, threads: int) -> None:
    rows, outs, depth = sizes
    x, bias = random(rows, depth), random(outs, seed=2) if biased else None
    w = random(depth, outs, seed=1).t() if across else random(outs, depth, seed=1)
    expected = x.double() @ w.double().t() + (0 if bias is None else bias.double())
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        close(linear(x, w, bias), expected, depth)
        start = random(rows, outs, seed=3)
        close(add_linear(start.clone(), x, w), start.double() + x.double() @ w.double().t(), depth)
    finally:
        torch.set_num_threads(before)


@needs_compiler
def test_a_rows_numbers_depend_on_nothing_beside_it(own: None) -> None:
    x, w = random(100, 700), random(130, 700, seed=1)
    whole = linear(x, w)
    for rows in (slice(0, 1), slice(3, 20), slice(41, 100)):
        assert torch.equal(linear(x[rows], w), whole[rows])
    assert torch.equal(linear(x, w[33:99]), whole[:, 33:99])
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        assert torch.equal(linear(x, w), whole)
    finally:
        torch.set_num_threads(before)


@needs_compiler
def test_rows_a_power_of_two_apart(own: None) -> None:
    x, w = random(30, 1024), random(40, 1024, seed=1)
    close(linear(x, w), x.double() @ w.double().t(), 1024)


@needs_compiler
def test_more_dimensions_and_what_is_no_number(own: None) -> None:
    x, w = random(2, 5, 64), random(48, 64, seed=1)
    close(linear(x, w), x.double() @ w.double().t(), 64)
    x[1, 2, 3] = torch.nan
    found = linear(x, w)
    assert found[1, 2].isnan().all()
    assert found.isnan().sum() == 48


@needs_compiler
def test_what_c_cannot_read_is_left_to_torch(own: None) -> None:
    x, w = random(4, 6), random(5, 6, seed=1)
    for inputs in ((x.double(), w.double()), (x.bfloat16(), w.bfloat16()), (x.t().contiguous().t(), w)):
        assert gemm._library(*inputs) is None
        torch.testing.assert_close(linear(*inputs), torch.nn.functional.linear(*inputs))
    apart = random(5, 12, seed=1)[:, ::2]
    assert gemm._library(x, apart) is None
    torch.testing.assert_close(linear(x, apart), x @ apart.t())


def test_other_makers_processors_keep_torchs_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "is_amd", lambda: False)
    gemm._own.cache_clear()
    x, w = random(300, 200), random(300, 200, seed=1)
    try:
        assert gemm._library(x, w) is None
        assert torch.equal(linear(x, w), torch.nn.functional.linear(x, w))
        y = random(300, 300, seed=2)
        assert torch.equal(add_linear(y.clone(), x, w), torch.addmm(y, x, w.t()))
    finally:
        gemm._own.cache_clear()
