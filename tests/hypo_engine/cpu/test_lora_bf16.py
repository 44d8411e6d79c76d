"""Groups of bfloat16 layers with float32 adapters: against float64, and against their products one by one."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hypo_engine.cpu import bf16_gemm, lora_bf16
from hypo_engine.cpu.bf16_gemm import rounded, unset
from hypo_engine.cpu.gate_bf16 import swiglu, swiglu_gradient
from hypo_engine.cpu.lora_bf16 import Adapted, gives_rounded, write_gradients, write_outputs
from tests.hypo_engine.conftest import torch_threads


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def group(ins: int, layers: Sequence[tuple[int, int]], *, bias: bool = False) -> list[Adapted]:
    """Layers of these outputs and ranks."""
    return [
        Adapted(
            random(outs, ins, seed=seed).bfloat16(),
            random(outs, seed=50) if bias else None,
            *((random(rank, ins, seed=seed + 10), random(outs, rank, seed=seed + 20), 0.5) if rank else ()),
        )
        for seed, (outs, rank) in enumerate(layers)
    ]


def absolute(layer: Adapted) -> Adapted:
    bias, a, b = (None if x is None else x.abs() for x in (layer.bias, layer.a, layer.b))
    return Adapted(layer.weight.abs(), bias, a, b, layer.scale)


def output(x: Tensor, layer: Adapted, ab: Sequence[Tensor] = ()) -> Tensor:
    """The formula in float64."""
    y = x @ layer.weight.double().t()
    if ab:
        y = y + x @ ab[0].t() @ ab[1].t() * layer.scale
    return y if layer.bias is None else y + layer.bias.double()


def exactly(x: Tensor, layers: Sequence[Adapted], upstream: Sequence[Tensor]) -> list[Tensor]:
    """Outputs, and gradients of x, of each A and of each B, in float64."""
    exact = x.double().requires_grad_()
    ab = [[m.double().requires_grad_() for m in (each.a, each.b) if m is not None] for each in layers]
    outputs = [output(exact, layer, own) for layer, own in zip(layers, ab, strict=True)]
    leaves = [exact, *(own[0] for own in ab), *(own[1] for own in ab)]
    return [*outputs, *torch.autograd.grad(outputs, leaves, [each.double() for each in upstream])]


def near(found: Tensor, expected: Tensor, terms: Tensor) -> None:
    """Within a few bfloat16 roundings of the absolute values of what is summed."""
    assert found.dtype == torch.float32
    assert (found.double() - expected).norm() <= 0.02 * terms.norm()


@pytest.fixture(params=["machine", "products"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As this machine computes, and by products one by one, as it would without lora_bf16.c."""
    if request.param == "products":
        monkeypatch.setattr(lora_bf16, "_library", lambda *_: None)


SIZES = st.tuples(st.integers(1, 70), st.integers(1, 130))
LAYERS = st.lists(st.tuples(st.integers(1, 80), st.integers(1, 40)), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=SIZES, layers=LAYERS, bias=st.booleans(), threads=st.integers(1, 3))
def test_outputs_and_gradients(
    way: None, sizes: tuple[int, int], layers: list[tuple[int, int]], bias: bool, threads: int
) -> None:
    rows, ins = sizes
    x, given_layers = random(rows, ins, seed=99), group(ins, layers, bias=bias)
    upstream = [random(rows, outs, seed=70 + i) for i, (outs, _) in enumerate(layers)]
    expected = exactly(x, given_layers, upstream)
    terms = exactly(x.abs(), [absolute(each) for each in given_layers], [each.abs() for each in upstream])

    with torch_threads(threads):
        found, downs = lora_bf16.forward(x, given_layers)
        of_x, of_a, of_b = lora_bf16.gradients(x, given_layers, downs, upstream, of_input=True)
        without, *_ = lora_bf16.gradients(x, given_layers, downs, upstream, of_input=False)
    assert without is None
    assert of_x is not None
    for ours, theirs, sizes_of in zip((*found, of_x, *of_a, *of_b), expected, terms, strict=True):
        near(ours, theirs, sizes_of)


needs_amx = pytest.mark.skipif(not bf16_gemm.is_fast(), reason="these C functions need AMX")


@needs_amx
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 32, 70, 400])
def test_one_call_gives_the_bits_of_its_products(
    rows: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, layers = random(rows, 130), group(130, [(33, 16), (64, 4), (5, 40)])
    upstream = [random(rows, len(layer.weight), seed=7) for layer in layers]

    def all_of_it() -> list[Tensor]:
        found, downs = lora_bf16.forward(x, layers)
        of_x, of_a, of_b = lora_bf16.gradients(x, layers, downs, upstream, of_input=True)
        assert of_x is not None
        return [*found, of_x, *of_a, *of_b]

    with torch_threads(threads):
        together = all_of_it()
        monkeypatch.setattr(lora_bf16, "_library", lambda *_: None)
        one_by_one = all_of_it()
    assert all(torch.equal(*pair) for pair in zip(together, one_by_one, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_rows_against_float64(threads: int) -> None:
    """Threads then share rows, not columns."""
    x, layers = random(410, 70), group(70, [(90, 16), (45, 3)])
    upstream = [random(410, len(layer.weight), seed=7) for layer in layers]
    expected = exactly(x, layers, upstream)
    terms = exactly(x.abs(), [absolute(layer) for layer in layers], [each.abs() for each in upstream])
    with torch_threads(threads):
        found, downs = lora_bf16.forward(x, layers)
        of_x, of_a, of_b = lora_bf16.gradients(x, layers, downs, upstream, of_input=True)
    assert of_x is not None
    for ours, theirs, sizes_of in zip((*found, of_x, *of_a, *of_b), expected, terms, strict=True):
        assert ((ours.double() - theirs).abs() <= 0.05 * sizes_of).all()
        near(ours, theirs, sizes_of)


def test_an_adapter_of_zeros_changes_no_bit(way: None) -> None:
    x, (layer,) = random(40, 64), group(64, [(48, 16)], bias=True)
    zero = Adapted(layer.weight, layer.bias, layer.a, torch.zeros(48, 16), 2.0)
    alone = Adapted(layer.weight, layer.bias)
    ((adapted,), _), ((base,), downs) = (lora_bf16.forward(x, [each]) for each in (zero, alone))
    assert torch.equal(adapted, base)
    assert downs[0] is None


def both(x: Tensor, layer: Adapted) -> list[tuple[Tensor, Adapted]]:
    return [(x, layer), (x.abs(), absolute(layer))]


@pytest.mark.parametrize("count", [8, 9])
def test_more_layers_than_the_kernel_has_room_for(way: None, count: int) -> None:
    x, layers = random(5, 32), group(32, [(7, 2)] * count)
    upstream = [random(5, 7, seed=i) for i in range(count)]
    _, downs = lora_bf16.forward(x, layers)
    of_x, *_ = lora_bf16.gradients(x, layers, downs, upstream, of_input=True)
    assert of_x is not None
    terms = exactly(x, [absolute(layer) for layer in layers], [u.abs() for u in upstream])[count]
    near(of_x, exactly(x, layers, upstream)[count], terms)
    for found, layer in zip(lora_bf16.forward(x, layers)[0], layers, strict=True):
        near(found, *(exactly(each, [own], [torch.zeros(5, 7)])[0] for each, own in both(x, layer)))


def test_other_strides(way: None) -> None:
    """Inputs and gradients that are not contiguous, and an expanded gradient."""
    x, layers = random(64, 20).t(), group(64, [(12, 3)])
    _, downs = lora_bf16.forward(x, layers)
    upstream = torch.ones(1, 1).expand(20, 12)
    found = lora_bf16.gradients(x, layers, downs, [upstream], of_input=True)
    expected = lora_bf16.gradients(x.contiguous(), layers, downs, [upstream.contiguous()], of_input=True)
    assert found[0] is not None
    assert expected[0] is not None
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[2][0], expected[2][0])


@needs_amx
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 70, 300])
def test_rounded_matrices_are_what_others_are_rounded_to(rows: int, threads: int) -> None:
    """Inputs, outputs and gradients, with their padding."""
    x, layers = random(rows, 130), group(130, [(70, 16), (45, 3)])
    upstream = [random(rows, len(layer.weight), seed=7) for layer in layers]
    narrow = [unset(rows, len(layer.weight)) for layer in layers]
    of_x = unset(rows, 130)
    for matrix in (*narrow, of_x):
        matrix.padded.fill_(torch.nan)
    assert gives_rounded(layers, 130)
    with torch_threads(threads):
        wide, downs = lora_bf16.forward(x, layers)
        expected_x, *expected = lora_bf16.gradients(x, layers, downs, upstream, of_input=True)
        narrow_downs = write_outputs(rounded(x), layers, narrow)
        found = write_gradients(rounded(x), layers, narrow_downs, [rounded(u) for u in upstream], of_x)
    assert expected_x is not None
    for ours, theirs in zip((*narrow, of_x), (*wide, expected_x), strict=True):
        assert torch.equal(ours.padded, rounded(theirs).padded)
    for ours_of, theirs_of in zip(found, expected, strict=True):
        assert all(torch.equal(*pair) for pair in zip(ours_of, theirs_of, strict=True))


@needs_amx
def test_the_deepest_sum_that_is_written_rounded() -> None:
    (layer,) = group(16_352, [(40, 5)])
    assert gives_rounded([layer], 16_352)
    assert not gives_rounded([layer], 16_353)
    x, found = random(3, 16_352), unset(3, 40)
    write_outputs(x, [layer], [found])
    assert torch.equal(found.padded, rounded(lora_bf16.forward(x, [layer])[0][0]).padded)


@needs_amx
def test_the_gate_of_rounded_matrices() -> None:
    gate, up, upstream = (random(37, 50, seed=seed) * 3 for seed in range(3))
    narrow = [rounded(x) for x in (gate, up, upstream)]
    exact = [x.matrix.double().requires_grad_() for x in narrow[:2]]
    expected = torch.nn.functional.silu(exact[0]) * exact[1]
    wanted = torch.autograd.grad(expected, exact, narrow[2].matrix.double())
    found = swiglu(narrow[0], narrow[1])
    for ours, theirs in zip(
        (found, *swiglu_gradient(narrow[2], narrow[0], narrow[1])), (expected, *wanted), strict=True
    ):
        assert not ours.padded[37:].any()
        assert not ours.padded[:, 50:].any()
        torch.testing.assert_close(ours.matrix.double(), theirs, atol=1e-6, rtol=2**-8)
