from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from hypo_engine.decoding.sampling import Choice, Response, choose_tokens, sample_responses, uniforms
from hypo_engine.models.load import load_model, load_tokenizer, stop_token_ids
from hypo_engine.prompts.encoder import Encoded
from hypo_engine.prompts.packing import try_packing
from hypo_engine.prompts.separate import SeparateSequences
from hypo_engine.prompts.shared import SharedPrefix

CPU = torch.device("cpu")
PROMPTS = [[5, 90, 33, 7, 200, 41, 18], [60], [12, 13, 14, 250]]
NEVER: frozenset[int] = frozenset()


def load(folder: Path) -> Any:
    return load_model(str(folder), dtype=torch.float32, device=CPU)


def encode(model: Any, way: str) -> Encoded:
    view = try_packing(model) if way == "prefix" else None
    assert view or way == "separate"
    return SharedPrefix(view, PROMPTS) if view else SeparateSequences(model, PROMPTS, pad_id=0)


def sample(
    model: Any,
    seeds: list[int],
    *,
    rows: list[int] | None = None,
    way: str = "prefix",
    stop_ids: frozenset[int] = NEVER,
    limit: int = 12,
    temperature: float = 1.0,
    on_token: Callable[[int, int], bool] | None = None,
) -> list[Response]:
    rows = rows or [i % 3 for i in range(len(seeds))]
    return sample_responses(
        encode(model, way).decoding(rows, limit),
        seeds=seeds,
        choice=Choice.same(len(rows), CPU, temperature=temperature),
        max_new_tokens=[limit] * len(rows),
        stop_ids=stop_ids,
        on_token=on_token,
    )


def test_tokens_are_drawn_with_their_probabilities() -> None:
    logits = torch.tensor([0.0, 2.0, -1.0, float("-inf"), 1.0])
    count = 200_000
    uniform = uniforms([3], count)[0]
    for temperature in (1.0, 0.5):
        choice = Choice.same(count, CPU, temperature=temperature)
        drawn, _ = choose_tokens(logits.expand(count, 5), uniform, choice)
        shares = torch.bincount(drawn, minlength=5) / count
        torch.testing.assert_close(shares, (logits / temperature).softmax(0), atol=4e-3, rtol=0)
        assert shares[3] == 0


def test_the_edges_of_the_uniform_numbers() -> None:
    logits = torch.tensor([[float("-inf"), 1.0, 1.0, float("-inf")]] * 2)
    edges = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    drawn, _ = choose_tokens(logits, edges, Choice.same(2, CPU))
    assert drawn.tolist() == [1, 2]


def test_temperature_zero_is_greedy_and_top_p_cuts_the_tail() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, -2.0]]).expand(1000, 4)
    uniform = uniforms([0], 1000)[0]
    assert set(choose_tokens(logits, uniform, Choice.same(1000, CPU, temperature=0.0))[0].tolist()) == {1}
    drawn, _ = choose_tokens(logits, uniform, Choice.same(1000, CPU, top_p=0.8))
    assert set(drawn.tolist()) == {1, 2}
    assert set(choose_tokens(logits, uniform, Choice.same(1000, CPU, top_p=1e-9))[0].tolist()) == {1}


def test_a_row_depends_on_its_seed_alone(tiny: Callable[[str], Path]) -> None:
    model = load(tiny("llama"))
    together = sample(model, [1, 2, 3, 4, 1], rows=[0, 0, 1, 2, 0])
    assert together[0].ids == together[4].ids != together[1].ids
    for place, (seed, row) in enumerate([(1, 0), (2, 0), (3, 1), (4, 2)]):
        assert sample(model, [seed], rows=[row])[0].ids == together[place].ids
    assert [r.ids for r in sample(model, [1, 2, 3, 4, 1], rows=[0, 0, 1, 2, 0])] == [r.ids for r in together]


def test_both_ways_of_encoding_sample_the_same(tiny: Callable[[str], Path]) -> None:
    model = load(tiny("qwen2"))
    stop = frozenset(range(0, 384, 9))
    found = [
        [r.ids for r in sample(model, [1, 2, 3, 4], way=way, stop_ids=stop)] for way in ("prefix", "separate")
    ]
    assert found[0] == found[1]
    assert len({len(ids) for ids in found[0]}) > 1


def test_the_end_token_is_kept_and_nothing_follows_it(tiny: Callable[[str], Path]) -> None:
    model = load(tiny("llama"))
    free = sample(model, [1, 2, 3])
    stop = frozenset({free[0].ids[4]})
    stopped = sample(model, [1, 2, 3], stop_ids=stop)
    end = free[0].ids.index(free[0].ids[4])
    assert stopped[0].ids == free[0].ids[: end + 1]
    assert stopped[0].finished
    for response, unstopped in zip(stopped[1:], free[1:], strict=True):
        assert response.finished == bool(stop.intersection(response.ids))
        assert response.ids == unstopped.ids[: len(response.ids)]


def test_a_response_cut_by_the_limit_has_no_end(tiny: Callable[[str], Path]) -> None:
    for response in sample(load(tiny("llama")), [1, 2, 3], limit=5):
        assert len(response.ids) == 5
        assert not response.finished


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_decoded_log_probabilities_are_those_of_training(
    tiny: Callable[[str], Path], temperature: float
) -> None:
    model = load(tiny("gemma2"))
    rows = [0, 1, 2]
    responses = sample(model, [7, 8, 9], rows=rows, temperature=temperature, limit=30)
    with torch.no_grad():
        scored = encode(model, "prefix").score(rows, [r.ids for r in responses], temperature)
    torch.testing.assert_close(
        torch.tensor([r.logps for r in responses]), scored.values, atol=1e-4, rtol=1e-4
    )


def test_generation_config_does_not_leak_in(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(copytree(tiny("llama"), tmp_path / "loud"))
    loud = GenerationConfig(
        do_sample=True, temperature=0.01, top_k=1, top_p=0.1, repetition_penalty=9.0, eos_token_id=[2, 7]
    )
    loud.save_pretrained(folder)
    model, quiet = load(folder), load(tiny("llama"))
    assert model.generation_config.temperature == 0.01  # it is read, but not used
    seeds = list(range(6))
    assert [r.ids for r in sample(model, seeds)] == [r.ids for r in sample(quiet, seeds)]
    assert stop_token_ids(model, load_tokenizer(str(folder))) == {2, 7}  # only the end tokens count


def test_rows_can_be_stopped_from_outside(tiny: Callable[[str], Path]) -> None:
    heard: list[tuple[int, int]] = []

    def on_token(row: int, token: int) -> bool:
        heard.append((row, token))
        return row == 1 and sum(r == 1 for r, _ in heard) == 3

    responses = sample(load(tiny("llama")), [1, 2, 3], on_token=on_token)
    assert [len(r.ids) for r in responses] == [12, 3, 12]
    assert not responses[1].finished
    for row, response in enumerate(responses):
        assert [token for r, token in heard if r == row] == response.ids


def test_limits_differ_by_row(tiny: Callable[[str], Path]) -> None:
    model = load(tiny("llama"))
    responses = sample_responses(
        encode(model, "prefix").decoding([0, 1], 6),
        seeds=[1, 1],
        choice=Choice.same(2, CPU),
        max_new_tokens=[2, 6],
        stop_ids=NEVER,
    )
    assert [len(r.ids) for r in responses] == [2, 6]
