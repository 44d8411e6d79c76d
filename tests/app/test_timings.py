"""The expected time of a run, from earlier measured steps."""

import pytest
from sqlalchemy.orm import Session

from app.lengths import TokenLengths
from app.store import metrics, runs, workers
from app.store.datasets import SplitCounts
from app.store.models import Run
from app.store.run_transitions import RUN_LEASES
from app.timings import forecast
from app.workload import Workload
from hypo_engine.config import TrainConfig
from tests.app import arena

CPU = "CPU, 2 threads"
MODEL = "org/model"


def work(config: TrainConfig, *, steps: int, tokens: int = 100) -> Workload:
    lengths = TokenLengths((tokens - 40,) * 100, (20,) * 100, (tokens,) * 100, 100)
    return Workload(SplitCounts(100, 0, 0), lengths, 100, config.pairs_per_step, steps)


def config(method: str = "dpo", **changes: object) -> TrainConfig:
    given = {"model_name_or_path": MODEL, "method": method, "max_completion_length": 64, **changes}
    return TrainConfig.model_validate(given)


def measured(session: Session, of: TrainConfig, *, device: str = CPU) -> Run:
    """A run with five steps, the first two slow, and 100 tokens per pair."""
    workers.beat(f"worker on {device}", session=session, queues="train", device=device)
    run = arena.add_run(session, of.method.value, base_model=MODEL)
    run.config, run.step, run.device = of.model_dump(mode="json"), 5, device
    for step in range(1, 6):
        seconds = 30.0 if step <= 2 else 2.0
        values = {
            "step_time": seconds,
            "time/training": seconds,
            "num_tokens": 100.0 * of.pairs_per_step * step,
        }
        if of.samples_online:
            values |= {"step_time": seconds + 6.0, "time/sampling": 6.0, "completions/mean_length": 60.0}
        metrics.record(run.id, session=session, step=step, values=values)
    session.commit()
    return run


def test_nothing_measured_is_nothing_told(session: Session) -> None:
    assert forecast(config(), work(config(), steps=10)) is None
    measured(session, config("hypo"))
    assert forecast(config("dpo"), work(config(), steps=10)) is None


def test_a_run_takes_its_steps_and_names_where_they_were_measured(session: Session) -> None:
    run = measured(session, config())
    found = forecast(config(), work(config(), steps=10))
    assert found is not None
    assert found.seconds == pytest.approx(20.0)
    assert (found.run_id, found.device, found.title) == (run.id, CPU, "DPO")


def test_training_time_goes_with_tokens(session: Session) -> None:
    measured(session, config())
    larger = config(per_device_train_batch_size=8)
    found = forecast(larger, work(larger, steps=10))
    assert found is not None
    assert found.seconds == pytest.approx(40.0)
    found = forecast(config(), work(config(), steps=10, tokens=300))
    assert found is not None
    assert found.seconds == pytest.approx(60.0)


def test_sampling_goes_with_length_and_the_root_of_rows(session: Session) -> None:
    measured(session, config("hypo"))
    same = forecast(config("hypo"), work(config("hypo"), steps=10))
    assert same is not None
    assert same.seconds == pytest.approx(80.0)
    doubled = config("hypo", max_completion_length=128)  # samples cut before would reach the new limit
    found = forecast(doubled, work(doubled, steps=1))
    assert found is not None
    # tokens read: 4 pairs of 100 and 8 responses of 60 before, of 120 now
    assert found.seconds == pytest.approx(2.0 * (400 + 960) / (400 + 480) + 12.0)
    rows = config("hypo", num_generations=8)
    found = forecast(rows, work(rows, steps=1))
    assert found is not None
    assert found.seconds == pytest.approx(2.0 * (400 + 32 * 60) / (400 + 480) + 6.0 * 2)


@pytest.mark.parametrize(
    "changes", [{"gradient_checkpointing": True}, {"lora_r": 0}, {"precision": "bfloat16"}]
)
def test_other_arithmetic_was_not_measured(session: Session, changes: dict[str, object]) -> None:
    measured(session, config())
    other = config(**changes)
    assert forecast(other, work(other, steps=10)) is None


def test_another_device_was_not_measured(session: Session) -> None:
    measured(session, config(), device="NVIDIA H100")
    assert forecast(config(), work(config(), steps=10)) is not None
    workers.leave("worker on NVIDIA H100", session=session)
    workers.beat("here", session=session, queues="train", device=CPU)
    session.commit()
    assert forecast(config(), work(config(), steps=10)) is None


def test_a_claimed_run_remembers_its_workers_device(session: Session) -> None:
    run = arena.add_run(session, "dpo")
    run.status = runs.RunStatus.QUEUED
    workers.beat("w", session=session, queues="train", device=CPU)
    session.commit()
    claimed = RUN_LEASES.claim(run.id, session=session, worker="w", lease_seconds=60)
    assert claimed is not None
    assert claimed.device == CPU
