"""Attention over segments in C, compared with the plain formula in float64: values and all gradients."""

from collections.abc import Callable, Sequence
from ctypes import CDLL
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hypo_engine.config import Precision
from hypo_engine.cpu import attention
from hypo_engine.cpu.attention import Segments
from hypo_engine.cpu.bf16_gemm import is_fast
from hypo_engine.cpu.skinny_gemm import library
from hypo_engine.forward import attention_mask
from hypo_engine.forward.interface import AttentionOptions
from hypo_engine.models.load import load_frozen, load_model
from hypo_engine.prompts.packing import try_packing
from hypo_engine.prompts.shared import SharedPrefix
from tests.hypo_engine.conftest import torch_threads

needs_compiler = pytest.mark.skipif(library() is None, reason="this machine has no C compiler")


def plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prefix: tuple[Tensor, Tensor] | None,
    lengths: Sequence[int],
    prompts: Sequence[tuple[int, int]],
    scaling: float,
) -> Tensor:
    """The plain formula, one segment at a time."""
    group, found, begin = query.shape[1] // key.shape[1], [], 0
    for length, (start, before) in zip(lengths, prompts, strict=True):
        rows = slice(begin, begin + length)
        keys, values = key[rows], value[rows]
        if prefix:
            keys, values = (
                torch.cat([whole[start : start + before], own])
                for whole, own in zip(prefix, (keys, values), strict=True)
            )
        keys, values = (x.repeat_interleave(group, dim=1) for x in (keys, values))
        scores = torch.einsum("nhd,mhd->hnm", query[rows], keys) * scaling
        hidden = torch.arange(before + length) > torch.arange(before, before + length)[:, None]
        weights = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1)
        found.append(torch.einsum("hnm,mhd->nhd", weights, values))
        begin += length
    return torch.cat(found)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


PROMPTS = st.lists(st.integers(1, 70), min_size=1, max_size=3)
COMPLETIONS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 70)), min_size=1, max_size=5)


@needs_compiler
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prompts=PROMPTS,
    completions=COMPLETIONS,
    group=st.integers(1, 4),
    shared=st.integers(1, 3),
    size=st.sampled_from([2, 8, 20, 32, 64, 80, 96, 128, 256]),
    grown=st.booleans(),
    half=st.booleans(),
    threads=st.integers(1, 3),
    spread=st.sampled_from([0.3, 1.0, 4.0]),
)
def test_values_and_gradients(
    processor: None,
    prompts: list[int],
    completions: list[tuple[int, int]],
    group: int,
    shared: int,
    size: int,
    grown: bool,
    half: bool,
    threads: int,
    spread: float,
) -> None:
    exact_products = not (half and is_fast())
    begins = attention_mask.starts(prompts)
    lengths = [length for _, length in completions] if grown else prompts
    places = [(begins[p % len(prompts)], prompts[p % len(prompts)]) for p, _ in completions]
    tokens, before = sum(lengths), sum(prompts)
    inputs = [
        spread * random(tokens, group * shared, size, seed=0),
        random(tokens, shared, size, seed=1),
        random(tokens, shared, size, seed=2),
    ]
    if grown:
        inputs += [random(before, shared, size, seed=3), random(before, shared, size, seed=4)]
    seen = places if grown else [(0, 0)] * len(lengths)
    upstream = random(tokens, group * shared, size, seed=5)

    exact = [x.double().requires_grad_() for x in inputs]
    expected = plain(*exact[:3], tuple(exact[3:]) or None, lengths, seen, size**-0.5)
    wanted = torch.autograd.grad(expected, exact, upstream.double())

    leaves = [x.requires_grad_() for x in inputs]
    segments = Segments(lengths, places if grown else None)
    with torch_threads(threads):
        found = segments.attend(*leaves[:3], tuple(leaves[3:]) or None, size**-0.5, half=half)
        assert found is not None
        gradients = torch.autograd.grad(found, leaves, upstream)
    if exact_products:
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    assert (found.double() - expected).norm() <= (1e-5 if exact_products else 0.04) * expected.norm()
    for ours, theirs in zip(gradients, wanted, strict=True):
        # a single key has weight one for any score, so its gradient is zero up to rounding errors
        error = (ours.double() - theirs).norm() / max(theirs.norm(), upstream.norm())
        assert error < (1e-5 if exact_products else 0.04)


@needs_compiler
@pytest.mark.parametrize("half", [False, True])
def test_prompts_in_the_same_row(half: bool) -> None:
    """They give what the same prompts give as a prefix of another row, bit for bit."""
    prompts, answers = [40, 7], [3, 20, 33]
    places = [(0, 40), (40, 7), (0, 40)]
    row = [random(sum(prompts + answers), heads, 32, seed=heads).requires_grad_() for heads in (4, 2, 2)]
    whole = Segments(prompts + answers, [(0, 0), (0, 0), *places]).attend(*row, None, 0.2, half=half)
    query, key, value = (x[47:].detach() for x in row)
    there = row[1][:47].detach(), row[2][:47].detach()
    apart = Segments(answers, places).attend(query, key, value, there, 0.2, half=half)
    assert whole is not None
    assert apart is not None
    assert torch.equal(whole[47:], apart)
    upstream = random(*whole.shape, seed=9)
    exact = [x.detach().double().requires_grad_() for x in row]
    lengths, seen = prompts + answers, [(0, 0), (0, 0), *places]
    expected = plain(exact[0], exact[1], exact[2], (exact[1], exact[2]), lengths, seen, 0.2)
    wanted = torch.autograd.grad(expected, exact, upstream.double())
    for ours, theirs in zip(torch.autograd.grad(whole, row, upstream), wanted, strict=True):
        assert (ours.double() - theirs).norm() < (0.01 if half and is_fast() else 1e-5) * theirs.norm()


@needs_compiler
def test_products_are_bfloat16_for_a_model_with_bfloat16_matrices_only(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    attend = Segments.attend

    def noted(self: Segments, *arguments: Any, half: bool) -> Tensor | None:
        asked.append(half)
        return attend(self, *arguments, half=half)

    monkeypatch.setattr(Segments, "attend", noted)
    for precision, expected in ((Precision.FLOAT32, False), (Precision.BFLOAT16, True)):
        model = load_frozen(str(tiny("llama")), precision=precision, device=torch.device("cpu"))
        view = try_packing(model)
        assert view is not None
        assert not any(asked)  # a trial computes in float32
        asked.clear()
        SharedPrefix(view, [[5, 6, 7]]).score([0], [[8, 9]])
        assert set(asked) == {expected}
        asked.clear()


@needs_compiler
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt_neox", "gemma2"])
def test_whole_models_give_what_torchs_kernels_give(
    tiny: Callable[[str], Path], architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(str(tiny(architecture)), dtype=torch.float32, device=torch.device("cpu"))
    view = try_packing(model)
    assert view is not None
    ids = list(range(3, 80))

    def score() -> tuple[Tensor, list[Tensor]]:
        prefix = SharedPrefix(view, [ids[:40], ids[40:47]])
        values = prefix.score([0, 1, 0, 1], [ids[50:77], ids[5:7], ids[9:10], ids[20:35]]).values
        values.square().sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        model.zero_grad(set_to_none=True)
        return values.detach(), gradients

    calls: list[str] = []
    run = Segments.run

    def counted(self: Segments, c: CDLL, name: str, scaling: float, tensors: dict[str, Tensor]) -> None:
        calls.append(name)
        run(self, c, name, scaling, tensors)

    monkeypatch.setattr(Segments, "run", counted)
    values, gradients = score()
    assert bool(calls) == (architecture != "gemma2")  # torch computes its soft-capped scores
    monkeypatch.setattr(AttentionOptions, "is_plain", lambda self, keys: False)
    before = len(calls)
    expected_values, expected = score()
    assert len(calls) == before
    torch.testing.assert_close(values, expected_values, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@needs_compiler
def test_what_is_kept_for_the_backward_pass() -> None:
    """Only inputs, the result, and one number per head and token: no copy of a prompt's keys."""
    query, key, value = (random(30, heads, 8, seed=heads).requires_grad_() for heads in (4, 2, 2))
    prefix = random(50, 2, 8, seed=6).requires_grad_(), random(50, 2, 8, seed=7).requires_grad_()
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.data_ptr()] = x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        found = Segments([10, 20], [(0, 50), (0, 50)]).attend(query, key, value, prefix, 1.0)
    assert found is not None
    assert sum(kept.values()) == 2 * query.numel() + 2 * key.numel() + 2 * prefix[0].numel() + 30 * 4


@needs_compiler
@pytest.mark.parametrize("half", [False, True])
def test_what_is_no_number_stays_none(half: bool) -> None:
    query, key, value = (random(9, heads, 8, seed=heads) for heads in (2, 1, 1))
    query[4, 1, 3] = torch.nan
    found = Segments([5, 4]).attend(query, key, value, None, 1.0, half=half)
    assert found is not None
    assert found[4, 1].isnan().all()
    assert not found[5:].isnan().any()


@needs_compiler
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    "shapes", [[(4, 8), (2, 8), (2, 4)], [(4, 8), (2, 6), (2, 6)], [(4, 8), (3, 8), (3, 8)]]
)
def test_other_shapes_are_left_to_torch(shapes: list[tuple[int, int]], *, half: bool) -> None:
    """Such as values of latent attention, which are smaller than its keys."""
    query, key, value = (random(5, *shape, seed=0) for shape in shapes)
    assert Segments([5]).attend(query, key, value, None, 1.0, half=half) is None


@needs_compiler
def test_without_tiles_it_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does if attention_bf16.c does not compile."""
    x = random(40, 2, 8, seed=0)
    exact = Segments([40]).attend(x, x, x, None, 1.0)
    given = attention.compiled
    monkeypatch.setattr(attention, "compiled", lambda name: None if "bf16" in name else given(name))
    found = Segments([40]).attend(x, x, x, None, 1.0, half=True)
    assert found is not None
    assert exact is not None
    assert torch.equal(found, exact)


def test_other_types_are_left_to_torch() -> None:
    x = random(4, 2, 8, seed=0).bfloat16()
    assert Segments([4]).attend(x, x, x, None, 1.0) is None


@pytest.mark.parametrize(
    ("options", "plain_for"),
    [
        (AttentionOptions(1.0), True),
        (AttentionOptions(1.0, window=8), True),
        (AttentionOptions(1.0, window=7), False),
    ],
)
def test_windows_matter_where_they_are_shorter_than_the_text(
    options: AttentionOptions, plain_for: bool
) -> None:
    assert options.is_plain(8) == plain_for
    assert not AttentionOptions(1.0, softcap=2.0).is_plain(8)
