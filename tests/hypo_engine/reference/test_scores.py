from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hypo_engine.config import TrainConfig
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.models.policy import Policy, load_policy
from hypo_engine.reference.scores import (
    ReferenceCache,
    fill_reference,
    length_batches,
    reference_key,
    score_pairs,
)

CPU = torch.device("cpu")
PAIRS = [TokenPair(i, [5 + i, 9, 8][: 1 + i % 3], [20 + i, 2], [30 + i, 31, 32, 2]) for i in range(6)]


@pytest.fixture
def policy(tiny: Callable[[str], Path]) -> Policy:
    return load_policy(TrainConfig(lora_r=4), str(tiny("llama")), pad_id=0, device=CPU)


def fill(cache: ReferenceCache, policy: Policy, places: list[int]) -> list[tuple[int, int]]:
    heard: list[tuple[int, int]] = []
    batches = [places[start : start + 2] for start in range(0, len(places), 2)]
    fill_reference(cache, policy, PAIRS, batches, between=lambda done, total: heard.append((done, total)))
    return heard


def test_pairs_of_like_length_go_together() -> None:
    pairs = [TokenPair(i, [1] * length, [2], [2]) for i, length in enumerate([3, 9, 1, 8, 2, 7])]
    assert length_batches(range(6), pairs, 4) == [[1, 3, 5, 0], [4, 2]]
    assert length_batches([4, 0, 3], pairs, 2) == [[3, 0], [4]]


def test_what_is_cached_is_the_reference(policy: Policy, tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path, "k" * 64, len(PAIRS))
    with torch.no_grad():
        expected = score_pairs(policy.encode, PAIRS)
        for parameter in policy.parameters():
            parameter.add_(0.1)
    assert fill(cache, policy, list(range(6))) == [(0, 6), (2, 6), (4, 6)]
    for found, wanted in zip(cache.get(range(6), CPU), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_only_what_is_asked_for_is_computed_and_the_rest_is_added(policy: Policy, tmp_path: Path) -> None:
    first = ReferenceCache(tmp_path, "k" * 64, len(PAIRS))
    fill(first, policy, [0, 3])
    assert first.missing(range(6)) == [1, 2, 4, 5]
    twin = ReferenceCache(tmp_path, "k" * 64, len(PAIRS))
    assert fill(twin, policy, [0, 3]) == []  # nothing to do
    assert fill(twin, policy, [0, 1]) == [(0, 2)]
    assert ReferenceCache(tmp_path, "k" * 64, len(PAIRS)).missing(range(6)) == [2, 4, 5]


def test_two_writers_keep_each_others_work(policy: Policy, tmp_path: Path) -> None:
    one, other = (ReferenceCache(tmp_path, "k" * 64, len(PAIRS)) for _ in range(2))
    fill(one, policy, [0, 1])
    fill(other, policy, [4, 5])
    assert ReferenceCache(tmp_path, "k" * 64, len(PAIRS)).missing(range(6)) == [2, 3]
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert not list(tmp_path.glob(".*safetensors*"))  # no temporary files are left


def test_another_key_sees_nothing(policy: Policy, tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path, "k" * 64, len(PAIRS))
    fill(cache, policy, list(range(6)))
    assert ReferenceCache(tmp_path, "l" * 64, len(PAIRS)).missing(range(6)) == list(range(6))
    # the same file name with another key inside, as from a collision of truncated hashes
    assert ReferenceCache(tmp_path, "k" * 40 + "x" * 24, len(PAIRS)).missing(range(6)) == list(range(6))


def test_a_damaged_file_is_a_miss_and_is_replaced(policy: Policy, tmp_path: Path) -> None:
    fill(ReferenceCache(tmp_path, "k" * 64, len(PAIRS)), policy, [0])
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(b"not safetensors")
    cache = ReferenceCache(tmp_path, "k" * 64, len(PAIRS))
    assert cache.missing([0]) == [0]
    fill(cache, policy, [0])
    assert ReferenceCache(tmp_path, "k" * 64, len(PAIRS)).missing([0]) == []


def test_what_was_computed_before_an_interruption_is_kept(policy: Policy, tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path, "k" * 64, len(PAIRS))

    def between(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_reference(cache, policy, PAIRS, [[0, 1], [2, 3], [4, 5]], between=between)
    assert len(ReferenceCache(tmp_path, "k" * 64, len(PAIRS)).missing(range(6))) == 4


def test_without_a_folder_nothing_is_written(policy: Policy, tmp_path: Path) -> None:
    cache = ReferenceCache(None, "k" * 64, len(PAIRS))
    fill(cache, policy, [0])
    assert cache.missing([0]) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [
        ("model2", "cpu float32", PAIRS),
        ("model", "cpu bfloat16", PAIRS),
        ("model", "cpu float32", PAIRS[1:]),
        ("model", "cpu float32", [*PAIRS[:-1], TokenPair(5, [1], [2], [3])]),
    ],
)
def test_the_key_covers_all_that_the_numbers_depend_on(other: Any) -> None:
    assert reference_key(*other) != reference_key("model", "cpu float32", PAIRS)
    assert reference_key("model", "cpu float32", PAIRS, layout="8 of 8") != reference_key(
        "model", "cpu float32", PAIRS, layout="4 of 8"
    )
    assert reference_key("model", "cpu float32", list(PAIRS)) == reference_key("model", "cpu float32", PAIRS)
