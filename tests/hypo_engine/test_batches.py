from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypo_engine.batches import derive_seed, make_plan, permutation


@given(st.integers(0, 2**31 - 1), st.integers(0, 50), st.integers(1, 60))
def test_an_epoch_is_a_permutation_and_a_pure_function(seed: int, epoch: int, size: int) -> None:
    order = permutation(seed, epoch, size)
    assert sorted(order) == list(range(size))
    assert permutation(seed, epoch, size) == order


def test_epochs_and_seeds_differ() -> None:
    orders = [permutation(seed, epoch, 50) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 4))
def test_every_epoch_sees_every_pair_once(size: int, pairs_per_step: int, epochs: int) -> None:
    plan = make_plan(size, pairs_per_step=pairs_per_step, max_steps=-1, epochs=epochs, seed=3)
    seen = Counter(i for step in range(plan.total_steps) for i in plan.indices(step))
    assert seen == dict.fromkeys(range(size), epochs)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 99))
def test_first_steps_are_those_of_the_first_epoch(size: int, pairs_per_step: int, place: int) -> None:
    plan = make_plan(size, pairs_per_step=pairs_per_step, max_steps=-1, epochs=2.0, seed=3)
    (step,) = plan.first_steps([place % size])
    assert step < plan.steps_per_epoch
    assert place % size in plan.indices(step)
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
