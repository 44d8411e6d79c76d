"""What automatic precision stands for, and that a resumed run keeps the one it began with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hypo_engine import train
from hypo_engine.config import Precision, TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.models import load
from hypo_engine.models.load import settled
from hypo_engine.training.checkpoint import checkpoints
from tests.hypo_engine.conftest import Recorder

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SAID = "info: Products are computed in bfloat16, which is faster on this processor."


@pytest.fixture(params=[False, True])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processor counts as one that multiplies bfloat16 faster."""
    monkeypatch.setattr(load, "is_fast", lambda: request.param)
    return bool(request.param)


def test_automatic_is_bfloat16_where_that_is_faster(fast: bool) -> None:
    faster = Precision.BFLOAT16 if fast else Precision.FLOAT32
    assert settled(Precision.AUTO, CPU, frozen=True) is faster
    assert settled(Precision.AUTO, CPU, frozen=False) is Precision.FLOAT32
    assert settled(Precision.AUTO, GPU, frozen=True) is Precision.BFLOAT16
    for precision in (Precision.FLOAT32, Precision.BFLOAT16):
        assert settled(precision, CPU, frozen=True) is precision


def arithmetic(folder: Path) -> str:
    state = json.loads((checkpoints(folder)[0] / "state.json").read_text())
    return str(state["made_with"]["arithmetic"])


def test_a_resumed_run_keeps_its_precision(
    fast: bool,
    config: Callable[..., TrainConfig],
    pairs: list[Pair],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = config(precision="auto", eval_pairs=0, eval_prompts=0, save_total_limit=1)
    begun = Recorder()
    short = settings.model_copy(update={"stop_at_samples": 1})
    train(short, pairs, output_dir=tmp_path, reporter=begun, models_dir=tmp_path)
    before = arithmetic(tmp_path)
    assert before.split()[1] == ("mixed" if fast else "torch.float32")
    assert (SAID in begun.messages) == fast

    monkeypatch.setattr(load, "is_fast", lambda: not fast)
    resumed = Recorder()
    train(settings, pairs, output_dir=tmp_path, reporter=resumed, models_dir=tmp_path, resume=True)
    assert arithmetic(tmp_path) == before
    assert any("Continuing from step" in message for message in resumed.messages)


@pytest.mark.parametrize("method", ["dpo", "hypo"])
def test_the_first_step_of_mixed_precision(
    config: Callable[..., TrainConfig], pairs: list[Pair], tmp_path: Path, method: str
) -> None:
    recorder = Recorder()
    settings = config(precision="bfloat16", method=method, max_steps=2, logging_steps=1)
    train(settings, pairs, output_dir=tmp_path, reporter=recorder, models_dir=tmp_path)
    first = recorder.values[1]
    assert first["loss"] == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=1e-6)
    assert first["rewards/margins"] == 0
    if method == "hypo":
        assert first["objective/kl"] == pytest.approx(0, abs=1e-5)  # 0 in C; torch sums in another order
    assert recorder.values[2]["loss"] != first["loss"]
