"""Scores of single pairs against the means that the run's own evaluation reported."""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from hypo_engine import pair_scores
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.errors import ModelError
from hypo_engine.pair_scores import PairScore, PairScorer, Unscored, load_pair_scorer
from hypo_engine.training.loop import train
from tests.hypo_engine.conftest import Recorder


def scored(scorer: PairScorer, pairs: list[Pair]) -> list[PairScore]:
    found = scorer.score(pairs)
    assert all(isinstance(one, PairScore) for one in found)
    return [one for one in found if isinstance(one, PairScore)]


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "dpo"},
        {"method": "dpo", "loss_type": "simpo"},
        {"method": "dpo", "lora_r": 0},
        {"method": "sft"},
        {"method": "reward"},
    ],
    ids=["dpo", "simpo", "full", "sft", "reward"],
)
def test_means_are_those_of_the_evaluation(
    changes: dict[str, Any], config: Callable[..., TrainConfig], pairs: list[Pair], tmp_path: Path
) -> None:
    chosen = config(**changes, eval_pairs=6, eval_prompts=0, probe_prompts=0)
    recorder = Recorder()
    result = train(
        chosen, pairs[:4], eval_pairs=pairs[4:], output_dir=tmp_path / "run", models_dir=tmp_path,
        reporter=recorder,
    )  # fmt: skip
    last = recorder.values[max(recorder.values)]
    found = scored(load_pair_scorer(chosen, result.checkpoint_dir, tmp_path), pairs[4:])
    reward = chosen.method == "reward"
    names = ("rewards/chosen", "rewards/rejected") if reward else ("logps/chosen", "logps/rejected")
    assert fmean(one.chosen for one in found) == pytest.approx(last[f"eval_{names[0]}"], abs=1e-4)
    assert fmean(one.rejected for one in found) == pytest.approx(last[f"eval_{names[1]}"], abs=1e-4)
    if chosen.method == "sft":
        one = found[0]
        expected = one.chosen / one.chosen_tokens - one.rejected / one.rejected_tokens
        assert one.margin == pytest.approx(expected, abs=1e-5)
    else:
        assert fmean(one.margin for one in found) == pytest.approx(last["eval_rewards/margins"], abs=1e-4)
    relative = chosen.method == "dpo" and chosen.loss_type.reads_reference
    assert all((one.reference_chosen is not None) == relative for one in found)
    if relative:
        for one in found:
            assert one.reference_chosen is not None
            assert one.reference_rejected is not None
            gained = one.chosen - one.reference_chosen - one.rejected + one.reference_rejected
            assert one.margin == pytest.approx(chosen.beta * gained, abs=1e-4)


def test_a_pair_that_is_too_long_is_named_and_a_batch_that_does_not_fit_is_halved(
    config: Callable[..., TrainConfig], pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config(per_device_train_batch_size=4, max_steps=1)
    result = train(chosen, pairs, output_dir=tmp_path / "run", models_dir=tmp_path)
    scorer = load_pair_scorer(chosen, result.checkpoint_dir, tmp_path)
    long = Pair("Why?", "word " * 500, "No.")
    whole = scorer.score([*pairs[:4], long, *pairs[4:]])
    assert isinstance(whole[4], Unscored)
    assert f"more than {chosen.max_completion_length} tokens" in whole[4].reason

    score_pairs, sizes = pair_scores.score_pairs, []

    def small(encode: Any, some: Any) -> Any:
        sizes.append(len(some))
        if len(some) > 2:
            raise MemoryError
        return score_pairs(encode, some)

    monkeypatch.setattr(pair_scores, "score_pairs", small)
    halved = scored(scorer, pairs)
    assert max(sizes) == 4
    together = [one for one in whole if isinstance(one, PairScore)]
    assert [one.margin for one in halved] == pytest.approx([one.margin for one in together], abs=1e-4)


def test_a_checkpoint_without_weights_is_refused(config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="checkpoint cannot be loaded"):
        load_pair_scorer(config(), tmp_path / "gone", tmp_path)
