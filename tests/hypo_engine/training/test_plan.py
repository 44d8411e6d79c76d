from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypo_engine.config import Method, TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.seeds import derive_seed
from hypo_engine.training.plan import deal, make_plan, permutation
from tests.hypo_engine.processes import Planned, assert_same_gradients, observe


@given(st.integers(0, 2**31 - 1), st.integers(0, 50), st.integers(1, 60))
def test_an_epoch_is_a_permutation_and_a_pure_function(seed: int, epoch: int, size: int) -> None:
    order = permutation(seed, epoch, size)
    assert sorted(order) == list(range(size))
    assert permutation(seed, epoch, size) == order


def test_epochs_and_seeds_differ() -> None:
    orders = [tuple(permutation(seed, epoch, 50)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 4))
def test_every_epoch_sees_every_pair_once(size: int, pairs_per_step: int, epochs: int) -> None:
    plan = make_plan(size, pairs_per_step=pairs_per_step, max_steps=-1, epochs=epochs, seed=3)
    seen = Counter(i for step in range(plan.total_steps) for i in plan.pair_indices(step))
    assert seen == dict.fromkeys(range(size), epochs)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 99))
def test_first_steps_are_those_of_the_first_epoch(size: int, pairs_per_step: int, place: int) -> None:
    plan = make_plan(size, pairs_per_step=pairs_per_step, max_steps=-1, epochs=2.0, seed=3)
    (step,) = plan.first_steps([place % size])
    assert step < plan.steps_per_epoch
    assert place % size in plan.pair_indices(step)
    assert plan.first_steps(range(size)) == list(range(plan.steps_per_epoch))


@pytest.mark.parametrize(("epochs", "steps"), [(1.0, 3), (0.5, 2), (0.01, 1), (2.0, 6)])
def test_epochs_become_steps(epochs: float, steps: int) -> None:
    assert make_plan(10, pairs_per_step=4, max_steps=-1, epochs=epochs, seed=0).total_steps == steps


def test_derived_seeds_are_fixed_for_ever() -> None:
    assert derive_seed("online", 0, 1, 2, 3) == derive_seed("online", 0, 1, 2, 3)
    seeds = {
        derive_seed("online", s, t, p, k)
        for s in range(3)
        for t in range(5)
        for p in range(5)
        for k in (0, 1)
    }
    assert len(seeds) == 150
    assert all(0 <= seed < 2**31 for seed in seeds)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40), st.integers(1, 6))
def test_every_place_is_dealt_once_and_nobody_gets_more_than_a_full_share(
    work: list[int], ranks: int
) -> None:
    places = [3 * place + 1 for place in range(len(work))]
    shares = deal(places, work, ranks)
    assert sorted(place for share in shares for place in share) == places
    assert max(map(len, shares)) == -(-len(places) // ranks)
    assert len(shares) == ranks


@given(st.lists(st.integers(1, 500), min_size=2, max_size=40), st.integers(2, 6))
def test_work_is_dealt_evenly(work: list[int], ranks: int) -> None:
    """No load exceeds that of another rank with a free place by more than the longest pair."""
    shares = deal(range(len(work)), work, ranks)
    loads = [sum(work[place] for place in share) for share in shares]
    free = [load for load, share in zip(loads, shares, strict=True) if len(share) < max(map(len, shares))]
    assert max(loads) - min(free, default=max(loads)) <= max(work)


def test_dealing_is_fixed_for_ever() -> None:
    assert deal([10, 11, 12, 13, 14], [5, 100, 7, 9, 8], 2) == [[11, 10], [13, 14, 12]]
    assert deal([4], [1], 3) == [[4], [], []]


@pytest.mark.exact
@pytest.mark.parametrize("method", [Method.DPO, Method.HYPO])
@pytest.mark.parametrize("lora_r", [0, 4])
def test_eight_batches_of_one_are_one_batch_of_eight_in_every_gradient(
    config: Callable[..., TrainConfig], pairs: list[Pair], tmp_path: Path, method: Method, lora_r: int
) -> None:
    found = {}
    for batch, accumulation in ((8, 1), (1, 8), (4, 2)):
        fields = config(
            method=method,
            lora_r=lora_r,
            max_steps=3,
            learning_rate=1e-4,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
        ).model_dump(mode="json")
        given = [(pair.prompt, pair.chosen, pair.rejected) for pair in pairs]
        found[batch] = observe(Planned(str(batch), fields, given), tmp_path)
        assert not found[batch].error
    for other in (found[1], found[4]):
        for step in (1, 2, 3):
            assert other.values[step]["loss"] == pytest.approx(found[8].values[step]["loss"], rel=1e-5)
        assert_same_gradients(other, found[8])
