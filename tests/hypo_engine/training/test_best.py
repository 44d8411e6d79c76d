"""The checkpoint that is best by a held-out metric is kept besides the last ones."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hypo_engine import train
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.errors import ConfigError, Interrupted
from hypo_engine.reporting import Wish
from hypo_engine.training import loop
from tests.hypo_engine.conftest import Recorder

METRIC = "eval_rewards/accuracies"


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[float]], None]:
    """Give evaluations these accuracies, by step; step 0 has the first."""

    def give(values: Sequence[float]) -> None:
        def evaluate(run: Any) -> None:
            run.counters.metrics[METRIC] = values[run.counters.step]

        monkeypatch.setattr(loop, "evaluate", evaluate)

    return give


def kept(folder: Path) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2]) for path in folder.iterdir())


def settings(config: Callable[..., TrainConfig], **changes: Any) -> TrainConfig:
    values = {"method": "dpo", "max_steps": 5, "eval_steps": 1, "metric_for_best_model": METRIC}
    return config(**(values | changes))


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ((0.9, 0.5, 0.8, 0.6, 0.8, 0.7), [2, 4, 5]),  # step 0 does not count, nor does an equal value
        ((0.0, 0.1, 0.2, 0.3, 0.4, 0.5), [4, 5]),
        ((0.0, 0.5, 0.4, 0.3, 0.2, 0.1), [1, 4, 5]),
    ],
)
def test_the_best_and_the_last(
    config: Callable[..., TrainConfig],
    pairs: list[Pair],
    tmp_path: Path,
    evaluated: Any,
    accuracies: Sequence[float],
    expected: list[int],
) -> None:
    evaluated(accuracies)
    limits = settings(config, save_steps=1, save_total_limit=2)
    train(limits, pairs, output_dir=tmp_path / "out", models_dir=tmp_path)
    assert kept(tmp_path / "out") == expected


def test_a_resumed_run_remembers_its_best(
    config: Callable[..., TrainConfig], pairs: list[Pair], tmp_path: Path, evaluated: Any
) -> None:
    evaluated((0.0, 0.9, 0.4, 0.3, 0.2, 0.1))
    limits, out = settings(config, save_steps=1, save_total_limit=1), tmp_path / "out"
    stop = Recorder(lambda told: Wish.YIELD if told.phases[-1][0] == 3 else Wish.CONTINUE)
    with pytest.raises(Interrupted):
        train(limits, pairs, output_dir=out, models_dir=tmp_path, reporter=stop)
    assert kept(out) == [1, 3]
    train(limits, pairs, output_dir=out, models_dir=tmp_path)
    assert kept(out) == [1, 5]


def test_a_run_without_held_out_pairs_says_that_there_is_no_best(
    config: Callable[..., TrainConfig], pairs: list[Pair], tmp_path: Path
) -> None:
    told, limits = Recorder(), settings(config, save_steps=1, save_total_limit=1, max_steps=3)
    train(limits, pairs, output_dir=tmp_path / "out", models_dir=tmp_path, reporter=told)
    assert kept(tmp_path / "out") == [3]
    assert len([said for said in told.messages if "no checkpoint is kept as the best" in said]) == 1


def test_without_the_metric_nothing_is_kept_for_it(
    config: Callable[..., TrainConfig], pairs: list[Pair], tmp_path: Path, evaluated: Any
) -> None:
    evaluated((0.0, 0.9, 0.4, 0.3, 0.2, 0.1))
    limits = settings(config, save_steps=1, save_total_limit=1, metric_for_best_model="none")
    train(limits, pairs, output_dir=tmp_path / "out", models_dir=tmp_path)
    assert kept(tmp_path / "out") == [5]


def test_a_real_run_keeps_one_of_its_evaluations(
    config: Callable[..., TrainConfig], pairs: list[Pair], tmp_path: Path
) -> None:
    recorder = Recorder()
    limits = settings(config, eval_pairs=4)
    train(
        limits,
        pairs,
        eval_pairs=pairs,
        output_dir=tmp_path / "out",
        models_dir=tmp_path,
        reporter=recorder,
    )
    accuracies = {step: found[METRIC] for step, found in recorder.values.items() if step and METRIC in found}
    best = max(accuracies, key=lambda step: (accuracies[step], -step))
    assert len(accuracies) == 5
    assert best in kept(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"eval_steps": 0}, "needs eval_steps of 1 or more"),
        ({"eval_pairs": 0}, "needs eval_pairs of 1 or more"),
        ({"metric_for_best_model": "eval_objective/scores"}, "needs a reward, which scores the samples"),
        (
            {"metric_for_best_model": "eval_objective/scores", "eval_prompts": 0, "reward": "length"},
            "needs eval_prompts of 1 or more",
        ),
        (
            {"metric_for_best_model": "eval_objective/scores", "method": "rloo", "reward": "length"},
            "must be a metric that RLOO does not maximise; use eval_rewards/accuracies",
        ),
        ({"method": "sft"}, "must be none or eval_objective/scores for SFT, which has no accuracy on pairs"),
        ({"metric_for_best_model": "eval_loss"}, "metric_for_best_model"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, Any], sentence: str) -> None:
    from hypo_engine.config import parse_config

    values = {"method": "dpo", "eval_steps": 5, "eval_pairs": 8, "metric_for_best_model": METRIC} | changes
    with pytest.raises(ConfigError, match=sentence):
        parse_config(values)
