"""Attention in one kernel reads what the kernels of single segments read.

On a CPU, where torch compiles no gradient of it, the kernel's definition is computed instead, from the
same index functions.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from hypo_engine.forward import flex
from hypo_engine.forward.attention_mask import _Row
from hypo_engine.forward.flex import FlexSegments
from hypo_engine.forward.interface import AttentionOptions

HEADS, KV_HEADS, SIZE = 4, 2, 8
PROMPTS = [5, 1, 130]  # more than a block of keys
COMPLETIONS, OF = [3, 7, 1, 140], [0, 0, 1, 2]
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="flex_attention is compiled on a GPU only")
DEVICES = [pytest.param("cpu"), pytest.param("cuda", marks=GPU)]
OPTIONS = [
    AttentionOptions(0.3),
    AttentionOptions(0.3, window=4),
    AttentionOptions(0.3, softcap=2.0),
    AttentionOptions(0.3, window=133, softcap=2.0),
]


def rows(kind: str) -> tuple[list[int], list[int | None], list[int]]:
    """The segments, their prompts and the prefix of each kind of pass."""
    if kind == "prompts":
        return PROMPTS, [None] * 3, []
    if kind == "completions":
        return COMPLETIONS, list(OF), PROMPTS
    return [*PROMPTS, *COMPLETIONS], [None] * 3 + OF, [*PROMPTS, *COMPLETIONS]


def defined(
    q: Tensor, k: Tensor, v: Tensor, *, score_mod: Any, block_mask: Any, scale: float, enable_gqa: bool
) -> Tensor:
    """What flex_attention computes, with all scores in memory."""
    assert enable_gqa is (q.shape[1] != k.shape[1])
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) * scale
    if score_mod is not None:
        scores = score_mod(scores)
    nothing, queries = torch.tensor(0), torch.arange(q.shape[2])[:, None]
    visible = block_mask.mask_mod(nothing, nothing, queries, torch.arange(k.shape[2])[None])
    return scores.masked_fill(~visible, float("-inf")).softmax(dim=-1) @ v


def attended(row: _Row, tensors: Sequence[Tensor], options: AttentionOptions, kind: str) -> list[Tensor]:
    """What a row attends to, and the gradients of its inputs."""
    q, k, v, *there = leaves = [x.detach().requires_grad_() for x in tensors]
    prefix = {"prompts": None, "tree": (k, v)}.get(kind, (there[0], there[1]) if there else None)
    found = row.attend(q, k, v, prefix, options)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(found)
    (found * weights).sum().backward()
    return [found, *(x.grad for x in leaves if x.grad is not None)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["prompts", "completions", "tree"])
def test_one_kernel_reads_what_many_read(
    kind: str, options: AttentionOptions, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths, prompts, prefix = rows(kind)
    generator = torch.Generator().manual_seed(0)
    counts = [(sum(lengths), HEADS), (sum(lengths), KV_HEADS), (sum(lengths), KV_HEADS)]
    if kind == "completions":
        counts += [(sum(prefix), KV_HEADS)] * 2
    tensors = [torch.randn(n, heads, SIZE, generator=generator).to(device) for n, heads in counts]

    if device == "cpu":
        monkeypatch.setattr(flex, "_kernel", lambda: defined)
    monkeypatch.setattr(FlexSegments, "is_usable", False)
    expected = attended(_Row(lengths, prompts, prefix), tensors, options, kind)
    monkeypatch.setattr(_Row, "attend", lambda self, *given: self._in_one_kernel(*given).unsqueeze(0))
    found = attended(_Row(lengths, prompts, prefix), tensors, options, kind)
    assert len(found) == len(expected) == (6 if kind == "completions" else 4)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
