"""Agreement of pairs of verdicts."""

import pytest

from app.evidence import agreement_rate


def test_the_rate_counts_pairs_and_needs_five_prompts() -> None:
    found = agreement_rate([1, 1, 2, 3], [2, 0, 1, 5], [2, 1, 1, 0])
    assert (found.rate, found.pairs, found.prompts) == (pytest.approx(3 / 4), 4, 2)
    assert found.low is None
    assert agreement_rate([1, 2], [0, 0], [0, 0]).rate is None
    assert agreement_rate([], [], []).pairs == 0


def test_the_interval_is_wider_when_verdicts_repeat_on_few_prompts() -> None:
    apart = agreement_rate(range(100), [1, 0] * 50, [1] * 100)
    together = agreement_rate([at // 10 for at in range(100)], [1] * 50 + [0] * 50, [1] * 100)
    assert apart.low is not None
    assert together.low is not None
    assert apart.low == pytest.approx(0.4, abs=0.02)
    assert together.low < apart.low - 0.1
    assert agreement_rate(range(20), [1] * 20, [1] * 20).low == pytest.approx(0.83, abs=0.03)
