"""Runs that end before their last step because a measured value passed a limit, or a budget is spent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hypo_engine.config import TrainConfig, field_errors
from hypo_engine.data.formats import Pair
from hypo_engine.training.loop import TrainResult, train
from tests.hypo_engine.conftest import Recorder

FAST = {"learning_rate": 0.05, "max_steps": 8, "eval_steps": 2, "eval_prompts": 3}
"""A run that leaves its reference within a few steps."""

Start = Callable[..., tuple[TrainResult, Recorder]]


@pytest.fixture
def start(tmp_path: Path, pairs: list[Pair], config: Callable[..., TrainConfig]) -> Start:
    def run(**changes: Any) -> tuple[TrainResult, Recorder]:
        recorder = Recorder()
        result = train(
            config(**({"method": "dpo"} | FAST | changes)),
            pairs,
            eval_pairs=pairs[:2],
            eval_prompts=[pair.prompt for pair in pairs[:3]],
            output_dir=tmp_path / "out",
            models_dir=tmp_path / "models",
            reporter=recorder,
        )
        return result, recorder

    return run


def test_a_run_ends_when_the_kl_is_above_its_limit(start: Start) -> None:
    result, recorder = start(stop_at_kl=1e-3, logging_steps=3)
    assert result.steps == 2
    assert result.checkpoint_dir.name == "checkpoint-000002"
    assert recorder.values[0]["eval_objective/kl"] == 0.0
    assert recorder.values[2]["eval_objective/kl"] > 1e-3
    assert "loss" in recorder.values[2]  # steps since the last report are reported too
    assert recorder.phases[-1] == (2, 8, "finished")
    (said,) = [message for message in recorder.messages if "stop_at_kl" in message]
    assert said.endswith("is above stop_at_kl, 0.001: the run ends after step 2 of 8.")


def test_going_on_with_a_higher_limit_trains_further(start: Start) -> None:
    start(stop_at_kl=1e-3)
    result, recorder = start(stop_at_kl=1e6)
    assert result.steps == 8
    assert min(step for step, values in recorder.values.items() if "loss" in values) == 3
    assert not any("ends after" in message for message in recorder.messages)


@pytest.mark.parametrize("missing", ["eval_steps", "eval_prompts"])
def test_a_limit_without_a_measurement_is_refused(missing: str) -> None:
    errors = field_errors({"stop_at_kl": 5, "eval_steps": 10} | {missing: 0})
    assert errors == {
        "stop_at_kl": f"Stop at KL (stop_at_kl) needs {missing} of 1 or more, to measure the KL."
    }


def test_budgets_end_a_run_after_the_step_that_spends_them(start: Start) -> None:
    result, recorder = start(stop_at_samples=9, method="hypo", num_generations=2, logging_steps=1)
    per_step = sum(row.kind == "online" for row in recorder.rows) // result.steps
    assert result.steps == -(-9 // per_step)
    assert result.checkpoint_dir.name == f"checkpoint-{result.steps:06d}"
    assert "eval_loss" in recorder.values[result.steps]
    said = f"The budget stop_at_samples of 9 is spent: the run ends after step {result.steps} of 8."
    assert f"info: {said}" in recorder.messages

    tokens = recorder.values[1]["num_tokens"]  # stored ones; samples count too
    again, more = start(stop_at_samples=0, stop_at_tokens=int(8 * tokens), method="hypo", num_generations=2)
    assert result.steps < again.steps < 8
    assert any("stop_at_tokens" in message for message in more.messages)


def test_a_reward_model_whose_time_is_over_is_whole(start: Start) -> None:
    result, recorder = start(method="reward", stop_at_seconds=1e-6)
    assert result.steps == 1
    assert result.model_dir is not None
    assert any("stop_at_seconds" in message for message in recorder.messages)
    again, _ = start(method="reward", stop_at_seconds=0)
    assert again.steps == 8
    assert again.model_dir is not None
