"""Attention in one kernel reads what the kernels of single segments read; on a GPU, backward too."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

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


def attended(row: _Row, tensors: Sequence[Tensor], options: AttentionOptions, kind: str) -> list[Tensor]:
    """What a row attends to, and on a GPU the gradients of its inputs: on a CPU torch has only the values."""
    gpu = tensors[0].is_cuda
    q, k, v, *there = leaves = [x.detach().requires_grad_(gpu) for x in tensors]
    prefix = {"prompts": None, "tree": (k, v)}.get(kind, (there[0], there[1]) if there else None)
    found = row.attend(q, k, v, prefix, options)
    if not gpu:
        return [found]
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(found)
    (found * weights).sum().backward()
    return [found, *(x.grad for x in leaves if x.grad is not None)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["prompts", "completions", "tree"])
@pytest.mark.filterwarnings("ignore:.*flex_attention called without torch.compile")
def test_one_kernel_reads_what_many_read(
    kind: str, options: AttentionOptions, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths, prompts, prefix = rows(kind)
    generator = torch.Generator().manual_seed(0)
    counts = [(sum(lengths), HEADS), (sum(lengths), KV_HEADS), (sum(lengths), KV_HEADS)]
    if kind == "completions":
        counts += [(sum(prefix), KV_HEADS)] * 2
    tensors = [torch.randn(n, heads, SIZE, generator=generator).to(device) for n, heads in counts]

    monkeypatch.setattr(FlexSegments, "is_usable", False)
    expected = attended(_Row(lengths, prompts, prefix), tensors, options, kind)
    monkeypatch.setattr(_Row, "attend", lambda self, *given: self._in_one_kernel(*given).unsqueeze(0))
    found = attended(_Row(lengths, prompts, prefix), tensors, options, kind)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
