"""Both ways of scoring, compared with the plain one: one sequence at a time, full logits, log_softmax."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hypo_engine.forward import attention_mask, interface
from hypo_engine.models.load import load_model
from hypo_engine.prompts.encoder import Encoded
from hypo_engine.prompts.packing import try_packing
from hypo_engine.prompts.separate import SeparateSequences
from hypo_engine.prompts.shared import SharedPrefix
from tests.tiny_model import ARCHITECTURES

PROMPTS = [[5, 90, 33, 7, 200, 41, 18], [60], [12, 13, 14, 250, 251, 16, 17, 180, 19, 20, 21, 22, 23, 24]]
ROWS = [0, 0, 1, 2, 2, 2]
COMPLETIONS = [[44, 45, 46], [70], [80, 81, 82, 83, 84, 85, 86, 87], [90, 2], [91, 92, 93, 94], [95]]


def load(folder: Path) -> Any:
    return load_model(str(folder), dtype=torch.float32, device=torch.device("cpu"))


def encode(model: Any, way: str, prompts: list[list[int]]) -> Encoded:
    if way == "separate":
        return SeparateSequences(model, prompts, pad_id=0)
    view = try_packing(model)
    assert view is not None
    prefix = SharedPrefix(view, prompts)
    if way == "prefix first":
        prefix.decoding([0], 1)
    return prefix


def naive(model: Any, prompt: list[int], completion: list[int], temperature: float = 1.0) -> Tensor:
    ids = torch.tensor([prompt + completion])
    logps = (model(input_ids=ids).logits[0].float() / temperature).log_softmax(dim=-1)
    return torch.stack([logps[len(prompt) + i - 1, token] for i, token in enumerate(completion)])


WAYS = ["at once", "prefix first", "separate"]
"""Prompts and completions in one row; prompts first, then completions; one sequence per completion.
"""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("way", WAYS)
def test_log_probabilities_and_gradients(tiny: Callable[[str], Path], architecture: str, way: str) -> None:
    model = load(tiny(architecture))
    weights = torch.arange(1, 7, dtype=torch.float32)
    found = encode(model, way, PROMPTS).score(ROWS, COMPLETIONS)
    (found.sums() * weights).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    expected = [naive(model, PROMPTS[row], c) for row, c in zip(ROWS, COMPLETIONS, strict=True)]
    sum(w * e.sum() for w, e in zip(weights, expected, strict=True)).backward()

    assert found.mask.sum(dim=1).tolist() == [len(c) for c in COMPLETIONS]
    for row, values in enumerate(expected):
        torch.testing.assert_close(found.values[row, : len(values)], values, atol=2e-5, rtol=1e-4)
        assert not found.values[row, len(values) :].any()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_a_temperature_for_each_row(tiny: Callable[[str], Path], way: str) -> None:
    model = load(tiny("llama"))
    temperatures = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.7, 1.0])[:, None]
    with torch.no_grad():
        found = encode(model, way, PROMPTS).score(ROWS, COMPLETIONS, temperatures)
        for row, temperature in enumerate(temperatures[:, 0].tolist()):
            expected = naive(model, PROMPTS[ROWS[row]], COMPLETIONS[row], temperature)
            torch.testing.assert_close(found.sums()[row], expected.sum(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decoding_continues_what_scoring_scores(tiny: Callable[[str], Path], architecture: str) -> None:
    """Feeding tokens one by one, with rows dropped on the way, gives the same log-probabilities."""
    model = load(tiny(architecture))
    for way in ("separate", "prefix first"):
        encoded = encode(model, way, PROMPTS)
        decoding = encoded.decoding([0, 1, 2], 4)
        tokens = [[44, 45, 46, 47], [80, 81, 82, 83], [90, 91, 92, 93]]
        rows = [0, 1, 2]
        logps = torch.zeros(3)
        for position in range(4):
            now = torch.tensor([tokens[row][position] for row in rows])
            logps[rows] += decoding.logits.log_softmax(-1).gather(1, now[:, None])[:, 0]
            if position == 1 and decoding.keep(torch.tensor([0, 2])):
                assert way == "prefix first"
                rows, now = [0, 2], now[[0, 2]]
            decoding.feed(now)
        expected = encoded.score([0, 1, 2], tokens).sums()
        torch.testing.assert_close(logps[rows], expected[rows], atol=1e-4, rtol=1e-4)


def test_completions_do_not_change_the_prefix(tiny: Callable[[str], Path]) -> None:
    model = load(tiny("llama"))
    with torch.no_grad():
        encoded = encode(model, "prefix first", PROMPTS)
        first = encoded.score(ROWS, COMPLETIONS).values
        decoding = encoded.decoding([0, 1], 1)
        decoding.feed(torch.tensor([1, 2]))
        assert torch.equal(encoded.score(ROWS, COMPLETIONS).values, first)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scoring_at_once_leaves_the_same_prefix(tiny: Callable[[str], Path], architecture: str) -> None:
    model = load(tiny(architecture))
    with torch.no_grad():
        found = []
        for way in ("prefix first", "at once"):
            encoded = encode(model, way, PROMPTS)
            encoded.score(ROWS, COMPLETIONS)
            decoding = encoded.decoding([0, 1, 2, 2], 2)
            decoding.feed(torch.tensor([1, 2, 3, 4]))
            found.append((decoding.logits, encoded.score(ROWS, COMPLETIONS).values))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_decoding_keeps_no_graph(tiny: Callable[[str], Path]) -> None:
    decoding = encode(load(tiny("llama")), "prefix first", PROMPTS).decoding([0, 0], 1)
    assert not decoding.logits.requires_grad


def test_positions_matter_so_they_are_passed(tiny: Callable[[str], Path]) -> None:
    """Guards against missing position_ids, which would shift a padded GPT-2 prompt."""
    model = load(tiny("gpt2"))
    ids, mask = torch.tensor([[0, 0, *PROMPTS[0]]]), torch.tensor([[0, 0] + [1] * 7])
    with torch.no_grad():
        with_positions = model(input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(0))
        without = model(input_ids=ids, attention_mask=mask)
        plain = model(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1]
    torch.testing.assert_close(with_positions.logits[0, -1], plain, atol=1e-5, rtol=1e-4)
    assert (without.logits[0, -1] - plain).abs().max() > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_these_architectures_are_packed(tiny: Callable[[str], Path], architecture: str) -> None:
    assert try_packing(load(tiny(architecture))) is not None


@pytest.mark.parametrize("wrong", ["refuses", "other rows", "no window"])
def test_a_model_that_packing_does_not_fit_is_noticed_and_left_as_it_was(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    model = load(tiny("gemma2" if wrong == "no window" else "llama"))
    before = SeparateSequences(model, PROMPTS, pad_id=0).score(ROWS, COMPLETIONS).values

    rightly = attention_mask._Row._with_prompts

    def wrongly(self: Any, own: Any, sizes: Any, prefix: Tensor | None) -> list[Tensor]:
        if wrong == "refuses":
            raise TypeError("recurrent")
        return rightly(self, own, sizes, None if prefix is None else -prefix)

    if wrong == "no window":
        monkeypatch.setattr(interface, "_mask", lambda *_: torch.zeros(1, 1))
    else:
        monkeypatch.setattr(interface.AttentionOptions, "is_plain", lambda *_: False)
        monkeypatch.setattr(attention_mask._Row, "_with_prompts", wrongly)
    assert try_packing(model) is None
    assert model.config._attn_implementation != interface.NAME
    assert torch.equal(SeparateSequences(model, PROMPTS, pad_id=0).score(ROWS, COMPLETIONS).values, before)
