"""When controls come: their number over every window, and their places."""

import pytest

from app.store import control_plan


@pytest.mark.parametrize("share", [0.01, 0.1, 0.29, 0.3, 0.5])
def test_the_share_is_met_over_every_window(share: float) -> None:
    counts = [control_plan.due(share, done, "seed", "ada") for done in range(301)]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert all(abs(count - share * done) < 1 for done, count in enumerate(counts))


def test_places_depend_on_the_key_and_are_the_same_again() -> None:
    def places(*key: object) -> list[int]:
        counts = [control_plan.due(0.1, done, *key) for done in range(201)]
        return [done for done in range(1, 201) if counts[done] > counts[done - 1]]

    assert places(7, "ada") == places(7, "ada")
    assert places(7, "ada") != places(7, "bob")
    within = [place - 1 - 10 * block for block, place in enumerate(places(7, "ada"))]
    assert len(within) == 20
    assert len(set(within)) > 4  # not each at the same place of its stretch
    assert control_plan.due(0, 100, 7) == 0
