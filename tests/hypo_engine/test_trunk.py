"""Both ways of scoring against the plainest one: one sequence at a time, full logits, log_softmax."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hypo_engine import trunk as trunk_module
from hypo_engine.models import load_model
from hypo_engine.trunk import Joined, Trunk, fork_cache, trunk_agrees
from tests.tiny_model import ARCHITECTURES

PROMPTS = [[5, 90, 33, 7, 200, 41, 18], [60], [12, 13, 14, 250, 251, 16, 17, 180, 19, 20, 21, 22, 23, 24]]
ROWS = [0, 0, 1, 2, 2, 2]
COMPLETIONS = [[44, 45, 46], [70], [80, 81, 82, 83, 84, 85, 86, 87], [90, 2], [91, 92, 93, 94], [95]]


def load(folder: Path) -> Any:
    return load_model(str(folder), dtype=torch.float32, device=torch.device("cpu"))


def naive(model: Any, prompt: list[int], completion: list[int], temperature: float = 1.0) -> Tensor:
    ids = torch.tensor([prompt + completion])
    logps = (model(input_ids=ids).logits[0].float() / temperature).log_softmax(dim=-1)
    return torch.stack([logps[len(prompt) + i - 1, token] for i, token in enumerate(completion)])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("way", [Trunk, Joined])
def test_log_probabilities_and_gradients(
    tiny: Callable[[str], Path], architecture: str, way: type[Trunk] | type[Joined]
) -> None:
    model = load(tiny(architecture))
    weights = torch.arange(1, 7, dtype=torch.float32)
    found = way(model, PROMPTS, pad_id=0).score(ROWS, COMPLETIONS)
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


@pytest.mark.parametrize("way", [Trunk, Joined])
def test_a_temperature_for_each_row(tiny: Callable[[str], Path], way: type[Trunk] | type[Joined]) -> None:
    model = load(tiny("llama"))
    temperatures = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.7, 1.0])[:, None]
    with torch.no_grad():
        found = way(model, PROMPTS, pad_id=0).score(ROWS, COMPLETIONS, temperatures)
        for row, temperature in enumerate(temperatures[:, 0].tolist()):
            expected = naive(model, PROMPTS[ROWS[row]], COMPLETIONS[row], temperature)
            torch.testing.assert_close(found.sums()[row], expected.sum(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decoding_continues_what_scoring_scores(tiny: Callable[[str], Path], architecture: str) -> None:
    """Feeding tokens one by one, with rows dropped on the way, gives the same log-probabilities."""
    model = load(tiny(architecture))
    for way in (Trunk, Joined):
        encoded = way(model, PROMPTS, pad_id=0)
        decoding = encoded.decoding([0, 1, 2])
        tokens = [[44, 45, 46, 47], [80, 81, 82, 83], [90, 91, 92, 93]]
        rows = [0, 1, 2]
        logps = torch.zeros(3)
        for position in range(4):
            now = torch.tensor([tokens[row][position] for row in rows])
            logps[rows] += decoding.logits.log_softmax(-1).gather(1, now[:, None])[:, 0]
            if position == 1 and decoding.droppable:
                decoding.keep(torch.tensor([0, 2]))
                rows, now = [0, 2], now[[0, 2]]
            decoding.feed(now)
        expected = encoded.score([0, 1, 2], tokens).sums()
        torch.testing.assert_close(logps[rows], expected[rows], atol=1e-4, rtol=1e-4)


def test_branches_do_not_touch_the_trunk(tiny: Callable[[str], Path]) -> None:
    model = load(tiny("llama"))
    with torch.no_grad():
        encoded = Trunk(model, PROMPTS, pad_id=0)
        first = encoded.score(ROWS, COMPLETIONS).values
        decoding = encoded.decoding([0, 1])
        decoding.feed(torch.tensor([1, 2]))
        assert torch.equal(encoded.score(ROWS, COMPLETIONS).values, first)


def test_decoding_keeps_no_graph(tiny: Callable[[str], Path]) -> None:
    decoding = Trunk(load(tiny("llama")), PROMPTS, pad_id=0).decoding([0, 0])
    assert not decoding.logits.requires_grad
    assert not any(layer.keys.requires_grad for layer in decoding.cache.layers)


def test_positions_matter_so_they_are_passed(tiny: Callable[[str], Path]) -> None:
    """The trap: without position_ids a padded GPT-2 prompt would start somewhere else."""
    model = load(tiny("gpt2"))
    ids, mask = torch.tensor([[0, 0, *PROMPTS[0]]]), torch.tensor([[0, 0] + [1] * 7])
    with torch.no_grad():
        with_positions = model(input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(0))
        without = model(input_ids=ids, attention_mask=mask)
        plain = model(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1]
    torch.testing.assert_close(with_positions.logits[0, -1], plain, atol=1e-5, rtol=1e-4)
    assert (without.logits[0, -1] - plain).abs().max() > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_these_architectures_share_prompts(tiny: Callable[[str], Path], architecture: str) -> None:
    assert trunk_agrees(load(tiny(architecture)), pad_id=0)


def test_a_cache_that_cannot_be_forked_is_noticed(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tiny("llama"))

    def refuse(*_: object, **__: object) -> None:
        raise TypeError("recurrent")

    monkeypatch.setattr(trunk_module, "fork_cache", refuse)
    assert not trunk_agrees(model, pad_id=0)


def test_a_cache_that_is_forked_wrongly_is_noticed(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tiny("llama"))

    def first_row(cache: Any, rows: Tensor, *, detach: bool) -> Any:
        return fork_cache(cache, torch.zeros_like(rows), detach=detach)

    monkeypatch.setattr(trunk_module, "fork_cache", first_row)
    assert not trunk_agrees(model, pad_id=0)
