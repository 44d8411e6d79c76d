"""The dry run and refusals: real steps without output, and runs that do not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hypo_engine.__main__ import main
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.data.token_pairs import TokenPair, TokenPairs
from hypo_engine.dry_run import dry_run, format_seconds
from hypo_engine.errors import ConfigError, ModelError
from hypo_engine.files.reference_cache import list_files
from hypo_engine.memory.estimate import PairLength, estimate_memory
from hypo_engine.training import memory_check
from hypo_engine.training.loop import train
from hypo_engine.training.memory_check import available_memory, check_fits, model_shape

CPU = torch.device("cpu")
SMALL_MACHINE = 100 * 2**20


@pytest.fixture
def yaml_file(tiny: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    rows = [{"prompt": f"Question {i} " * (i + 1), "chosen": "Paris.", "rejected": "No."} for i in range(12)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))

    def write(**changes: Any) -> Path:
        values = {
            "model_name_or_path": str(tiny("llama")),
            "method": "hypo",
            "lora_r": 2,
            "num_train_epochs": 5,
            "per_device_train_batch_size": 3,
            "max_completion_length": 10,
            "dataset": str(tmp_path / "pairs.jsonl"),
            "output_dir": str(tmp_path / "out"),
            "models_dir": str(tmp_path / "models"),
            "cache_dir": str(tmp_path / "cache"),
            "eval_fraction": 0.0,
        } | changes
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def test_a_dry_run_measures_and_keeps_nothing(
    yaml_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = yaml_file()
    before = sorted(tmp_path.rglob("*"))
    assert main([str(path), "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(tmp_path.rglob("*")) == before
    assert found["device"] == "cpu"
    assert found["steps"] == 20
    assert found["seconds_a_step"] > 0
    # most pairs are shorter, so less than steps times seconds; reference scores are included
    assert 0 < found["seconds_total"] < 25 * found["seconds_a_step"] + 10
    assert found["measured_peak"] > 100 * 2**20  # at least Python and torch
    parts = found["estimate"]
    assert parts["total"] == sum(n for name, n in parts.items() if name != "total") - min(
        parts["activations"], parts["kv_cache"]
    )


def test_people_read_lines(yaml_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(yaml_file(method="dpo")), "--dry-run"]) == 0
    out = capsys.readouterr().out
    for words in (
        "weights ",
        "kv cache ",
        "estimate ",
        "available ",
        "measured peak ",
        "a step ",
        "20 steps",
    ):
        assert f"\n{words}" in out or words in out.splitlines()[-1]


def test_the_steps_are_those_of_the_longest_pairs(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Pairs over the limit are dropped; the rest are sorted by length."""
    said: list[str] = []
    pairs = [Pair("word " * n, "Paris.", "No.") for n in (2, 9, 4, 30)] + [Pair("a", "long " * 99, "b")]
    config = TrainConfig(
        model_name_or_path=str(tiny("llama")),
        method="dpo",
        max_completion_length=10,
        per_device_train_batch_size=1,
        lora_r=2,
    )
    found = dry_run(config, pairs, models_dir=tmp_path, say=said.append)
    assert found.steps == 4
    assert any("training" in line for line in said)
    # a step on the longest pair costs more than one on any other
    assert found.seconds_total < 4 * found.seconds_a_step + 5


def test_a_mistake_is_one_sentence(
    yaml_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(yaml_file(max_completion_length=1)), "--dry-run"]) == 1
    assert "No pair is left" in capsys.readouterr().err


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with little free memory."""
    monkeypatch.setattr(memory_check, "available_bytes", lambda: SMALL_MACHINE)
    monkeypatch.setattr(memory_check, "_held", lambda: 0)


PAIRS = TokenPairs(TokenPair(i, [5] * 90, [6] * 50, [7] * 40) for i in range(8))


@pytest.mark.usefixtures("small_machine")
def test_a_run_that_cannot_fit_is_refused_with_what_would_help(tiny: Callable[[str], Path]) -> None:
    folder = str(tiny("llama"))
    config = TrainConfig(model_name_or_path=folder, per_device_train_batch_size=8)
    with pytest.raises(ConfigError) as caught:
        check_fits(config, folder, PAIRS, device=CPU)
    text = str(caught.value)
    shape = model_shape(folder)
    assert shape is not None
    assert "100 MiB can be had" in text
    assert text.count(": ") >= 4  # three knobs with their estimates, and the insist option
    assert "set insist: true" in text
    check_fits(config.model_copy(update={"insist": True}), folder, PAIRS, device=CPU)


def spoil_numbers(weights: Path) -> None:
    """Keep a safetensors header and set every number to NaN, which only loading reveals."""
    data = weights.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    weights.write_bytes(data[:begin] + b"\xff" * (len(data) - begin))


@pytest.mark.usefixtures("small_machine")
def test_training_refuses_before_the_weights_are_read(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny("llama"), folder)
    spoil_numbers(folder / "model.safetensors")
    config = TrainConfig(model_name_or_path=str(folder), max_steps=1)
    places = {"output_dir": tmp_path / "out", "models_dir": tmp_path, "cache_dir": tmp_path / "cache"}
    with pytest.raises(ConfigError, match="needs about"):
        train(config, [Pair("a", "b", "c")] * 4, **places)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match="not finite"):
        train(config.model_copy(update={"insist": True}), [Pair("a", "b", "c")] * 4, **places)


@pytest.mark.usefixtures("small_machine")
def test_sharded_weights_are_not_refused(tiny: Callable[[str], Path]) -> None:
    config = TrainConfig(model_name_or_path=str(tiny("llama")), sharding="fsdp")
    check_fits(config, config.model_name_or_path, PAIRS, device=CPU)


def test_the_cache_knows_its_model(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    config = TrainConfig(
        model_name_or_path=str(tiny("llama")), method="dpo", max_steps=1, eval_pairs=0, lora_r=2
    )
    pairs = [Pair(f"question {n}", "b", "c") for n in range(6)]
    train(config, pairs, output_dir=tmp_path / "out", models_dir=tmp_path, cache_dir=tmp_path / "cache")
    [file] = [f for f in list_files(tmp_path / "cache") if f.pairs]
    assert (file.model, file.pairs, file.filled) == (str(tiny("llama")), 6, 4)


@pytest.mark.usefixtures("small_machine")
def test_a_dry_run_refuses_as_the_run_would_unless_told_to_insist(
    yaml_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(yaml_file()), "--dry-run"]) == 1
    assert "needs about" in capsys.readouterr().err
    assert main([str(yaml_file()), "--dry-run", "--insist"]) == 0


@pytest.mark.exact
def test_a_run_that_fits_goes_on_and_an_unknown_model_refuses_nothing(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = str(tiny("gpt2"))
    config = TrainConfig(model_name_or_path=folder)
    shape = model_shape(folder)
    assert shape is not None
    lengths = [PairLength(90, 50, 40)] * 8
    need = estimate_memory(shape, config, lengths).total
    monkeypatch.setattr(memory_check, "_held", lambda: 0)
    monkeypatch.setattr(memory_check, "available_bytes", lambda: need)
    check_fits(config, folder, PAIRS, device=CPU)
    monkeypatch.setattr(memory_check, "available_bytes", lambda: need - 1)
    with pytest.raises(ConfigError, match="needs about"):
        check_fits(config, folder, PAIRS, device=CPU)
    (tmp_path / "config.json").write_text("{}")
    check_fits(config, str(tmp_path), PAIRS, device=CPU)
    monkeypatch.setattr(memory_check, "available_bytes", lambda: None)
    check_fits(config, folder, PAIRS, device=CPU)


def test_processes_on_one_machine_share_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_check, "available_bytes", lambda: 1000)
    monkeypatch.setattr(memory_check, "_held", lambda: 7)
    assert available_memory(CPU) == 1007
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert available_memory(CPU) == 507


def test_seconds_for_people() -> None:
    assert [format_seconds(s) for s in (0.0123, 4.2, 59.6, 600, 7500)] == [
        "0.012 s", "4.2 s", "60 s", "10 min", "2 h 05 min",
    ]  # fmt: skip
