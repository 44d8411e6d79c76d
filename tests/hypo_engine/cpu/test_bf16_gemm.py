"""Products of bfloat16 matrices with float32 sums: in C where the processor has AMX, else in torch."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hypo_engine.cpu import bf16_gemm
from hypo_engine.cpu.bf16_gemm import linear, product, rounded
from tests.hypo_engine.conftest import torch_threads


@pytest.fixture(params=["machine", "torch"])
def sharp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether results keep float32's digits: what this machine has, and what it would do without AMX."""
    if request.param == "torch":
        monkeypatch.setattr(bf16_gemm, "_library", lambda: None)
    return bf16_gemm.is_fast()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, expected: Tensor, *, sharp: bool, size: float = 0.0) -> None:
    """``size``: of what was summed, if the sum may be much smaller."""
    assert found.dtype == torch.float32
    size = max(size, float(expected.abs().max()))
    torch.testing.assert_close(found.double(), expected, atol=(1e-6 if sharp else 1e-2) * size, rtol=0)


SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 130))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=SIZES, across=st.booleans(), rank=st.integers(0, 40), threads=st.integers(1, 3))
def test_any_size_and_several_terms(
    sharp: bool, sizes: tuple[int, int, int], across: bool, rank: int, threads: int
) -> None:
    rows, outs, depth = sizes
    x = rounded(random(rows, depth))
    w = (random(depth, outs, seed=1).t() if across else random(outs, depth, seed=1)).bfloat16()
    terms = [(x, w)]
    if rank:
        terms.append((rounded(random(rows, rank, seed=2)), random(outs, rank, seed=3).bfloat16()))
    expected = sum((x.matrix.double() @ w.double().t() for x, w in terms), torch.zeros(rows, outs).double())
    size = max(float((x.matrix.double() @ w.double().t()).abs().max()) for x, w in terms)
    with torch_threads(threads):
        close(product(terms), expected, sharp=sharp, size=size)
        start = random(rows, outs, seed=4)
        close(product(terms, into=start.clone()), start.double() + expected, sharp=sharp, size=size)


def test_rounding_is_to_nearest() -> None:
    x = random(37, 70)
    assert torch.equal(rounded(x).matrix, x.bfloat16())
    assert torch.equal(rounded(random(70, 37).t()).matrix, random(70, 37).t().bfloat16())


def test_a_rows_result_does_not_depend_on_the_others() -> None:
    x, w = random(77, 96), random(50, 96, seed=1).bfloat16()
    together = product([(rounded(x), w)])
    for start, end in ((0, 1), (13, 40), (76, 77)):
        assert torch.equal(product([(rounded(x[start:end]), w)]), together[start:end])


def test_leading_dimensions_and_bias() -> None:
    x, w, bias = random(2, 9, 40), random(24, 40, seed=1).bfloat16(), random(24, seed=2)
    expected = x.bfloat16().double() @ w.double().t() + bias.double()
    found = linear(x, w, bias)
    assert found.shape == (2, 9, 24)
    close(found, expected, sharp=bf16_gemm.is_fast())


DEEPEST = 1 << 14
"""Terms of a sum that a packed strip of bf16_gemm.h holds."""


def test_more_terms_than_a_strip_holds() -> None:
    depth = DEEPEST + 1
    x, w = random(3, depth), random(5, depth, seed=1).bfloat16()
    close(product([(rounded(x), w)]), x.bfloat16().double() @ w.double().t(), sharp=False)


def test_a_machine_without_amx_uses_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutAmx:
        def hypo_bf16_available(self) -> int:
            return 0

    def compiled(_: Any) -> Any:
        return WithoutAmx()

    monkeypatch.setattr(bf16_gemm, "compiled", compiled)
    bf16_gemm._library.cache_clear()
    try:
        assert not bf16_gemm.is_fast()
    finally:
        bf16_gemm._library.cache_clear()


@pytest.mark.parametrize("given", ["expanded", "transposed", "float64"])
def test_whatever_is_rounded_is_padded(given: str) -> None:
    """The C code reads whole tiles; NaN stands where memory would be read past the matrix."""
    x = {
        "expanded": torch.ones(3, 1).expand(3, 40),
        "transposed": random(40, 3).t(),
        "float64": random(3, 40).double(),
    }[given]
    w = random(5, 40, seed=1).bfloat16()
    found = product([(rounded(x), w)])
    close(found, x.bfloat16().double() @ w.double().t(), sharp=bf16_gemm.is_fast())
    if bf16_gemm.is_fast():
        assert rounded(x).padded.shape == (32, 64)


@pytest.mark.parametrize("depths", [(DEEPEST - 40, 30, DEEPEST + 150, 64), (40,) * 35])
def test_deep_sums_and_many_terms_are_cut(depths: tuple[int, ...]) -> None:
    terms = [
        (rounded(random(7, depth, seed=place)), random(5, depth, seed=place + 50).bfloat16())
        for place, depth in enumerate(depths)
    ]
    expected = sum((x.matrix.double() @ w.double().t() for x, w in terms), torch.zeros(7, 5).double())
    sharp = bf16_gemm.is_fast() and sum(depths) < DEEPEST
    close(product(terms), expected, sharp=sharp)
    start = random(7, 5, seed=9)
    close(product(terms, into=start.clone()), start.double() + expected, sharp=sharp)
