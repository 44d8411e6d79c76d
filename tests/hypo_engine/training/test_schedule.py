import pytest

from hypo_engine.config import Scheduler, TrainConfig
from hypo_engine.training.schedule import learning_rate_at


def rates(scheduler: Scheduler, warmup: float, steps: int = 10) -> list[float]:
    config = TrainConfig(learning_rate=1e-3, lr_scheduler_type=scheduler, warmup_ratio=warmup)
    return [learning_rate_at(step, steps, config) for step in range(steps)]


def test_warm_up_rises_in_equal_parts_to_the_peak() -> None:
    assert rates(Scheduler.CONSTANT, 0.3)[:4] == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3])


def test_linear_falls_to_its_last_part() -> None:
    assert rates(Scheduler.LINEAR, 0.0) == pytest.approx([1e-3 * (10 - i) / 10 for i in range(10)])


def test_cosine_is_half_way_in_the_middle() -> None:
    found = rates(Scheduler.COSINE, 0.0)
    assert found[0] == pytest.approx(1e-3)
    assert found[5] == pytest.approx(5e-4)
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("scheduler", list(Scheduler))
@pytest.mark.parametrize("warmup", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_every_step_has_a_rate_above_zero(scheduler: Scheduler, warmup: float, steps: int) -> None:
    assert all(0 < rate <= 1e-3 * (1 + 1e-9) for rate in rates(scheduler, warmup, steps))
