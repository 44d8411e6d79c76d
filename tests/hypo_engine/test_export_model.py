"""Merged models and GGUF files: loaded again by transformers alone, with the run's own log-probabilities."""

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from hypo_engine import export_model as exporting
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.errors import EngineError, ModelError
from hypo_engine.export_model import Job, export_model
from hypo_engine.files.gguf_tokenizer import read_gguf_tokenizer
from hypo_engine.models import merged as merging
from hypo_engine.models.adapters import merge_adapters
from hypo_engine.models.gguf import check_writable
from hypo_engine.training.loop import train
from tests.tiny_model import write_tiny_model

MakeJob = Callable[..., Job]


@pytest.fixture
def job(config: Callable[..., TrainConfig], pairs: list[Pair], tmp_path: Path) -> MakeJob:
    """A job for a run of two steps; keyword arguments change the run's configuration."""

    def make(*, gguf: bool = False, **changes: Any) -> Job:
        given = config(**{"method": "dpo", "max_steps": 2, "learning_rate": 3e-2, "seed": 5} | changes)
        result = train(given, pairs, output_dir=tmp_path / "run", models_dir=tmp_path)
        return Job(
            config=given.model_dump(mode="json"),
            checkpoint=str(result.checkpoint_dir),
            base=None,
            base_adapters=[],
            pairs=[{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in pairs[:3]],
            output=str(tmp_path / "out"),
            gguf=gguf,
            name="A run",
            models_dir=str(tmp_path),
        )

    return make


@pytest.mark.exact
def test_both_forms_have_the_runs_log_probabilities(job: MakeJob, tmp_path: Path) -> None:
    made = job()
    for given in (made, replace(made, gguf=True, output=str(tmp_path / "gguf"))):
        checked = export_model(given)
        assert checked.answers == 6
        assert checked.difference < 1e-4
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json"} <= names
    assert [path.name for path in (tmp_path / "gguf").iterdir()] == ["model.gguf"]
    base = AutoModelForCausalLM.from_pretrained(made.config["model_name_or_path"])
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    gguf = AutoModelForCausalLM.from_pretrained(
        tmp_path / "gguf", gguf_file="model.gguf", dtype=torch.float32
    )
    ids = torch.tensor([[5, 9, 200, 17]])
    assert torch.allclose(written(ids).logits, gguf(ids).logits, atol=1e-4)
    assert not torch.allclose(written(ids).logits, base(ids).logits, atol=1e-2)


@pytest.mark.exact
@pytest.mark.parametrize("changes", [{"lora_r": 0}, {"prompt_style": "chat"}])
def test_other_runs(job: MakeJob, changes: dict[str, Any]) -> None:
    assert export_model(job(**changes)).difference < 1e-4


@pytest.mark.exact
def test_a_run_that_started_from_a_run(job: MakeJob, tmp_path: Path, pairs: list[Pair]) -> None:
    first = job()
    shutil.move(tmp_path / "run", tmp_path / "first")
    adapter = tmp_path / "first" / Path(first.checkpoint).name / "adapter"
    second = replace(job(model_name_or_path=str(adapter)), gguf=True)
    named = replace(
        second,
        config=second.config | {"model_name_or_path": "run:1"},
        base=first.config["model_name_or_path"],
        base_adapters=[str(adapter)],
    )
    assert export_model(named).difference < 1e-4


def test_a_run_in_bfloat16_is_held_to_its_own_digits(job: MakeJob) -> None:
    """Regression: on a CPU its activations are float32, and so was the limit."""
    assert 1e-4 < export_model(job(precision="bfloat16")).difference < exporting.ROUNDED


def test_the_base_models_dropout_and_data_type_stay(job: MakeJob, tmp_path: Path) -> None:
    base = write_tiny_model(tmp_path / "base", architecture="gpt_neox")
    half = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    half.save_pretrained(base)
    made = job(model_name_or_path=str(base))
    assert export_model(made).difference < exporting.ROUNDED
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert (config.hidden_dropout, config.dtype) == (0.1, torch.bfloat16)
    assert {t.dtype for t in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_what_differs_from_the_run_is_refused(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    made = job()

    def twice(model: Any, adapters: Any) -> None:
        merge_adapters(model, adapters)
        merge_adapters(model, adapters)

    monkeypatch.setattr("hypo_engine.models.load.merge_adapters", twice)
    with pytest.raises(ModelError, match="other log-probabilities than the run's model"):
        export_model(made)


def test_a_folder_that_cannot_be_loaded_again_is_refused(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job()

    def cut(model: Any, tokenizer: Any, place: str, folder: Path) -> None:
        merging.save_merged(model, tokenizer, place, folder)
        (folder / "model.safetensors").write_bytes(b"x")

    monkeypatch.setattr(exporting, "save_merged", cut)
    with pytest.raises(ModelError, match="cannot be loaded again"):
        export_model(made)


def test_without_room_nothing_is_written(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(gguf=True)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("hypo_engine.export_model.shutil.disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(EngineError, match=r"needs .* where 1 B are free|needs .*free; make room"):
        export_model(made)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("architecture", "changes", "said"),
    [
        ("gpt2", {}, "gpt2 is not among the architectures"),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "positions are scaled"),
        ("mistral", {}, "has a sliding window"),
        ("llama", {"attention_bias": True}, "have biases"),
        ("llama", {"hidden_act": "gelu"}, "its activation is gelu"),
    ],
)
def test_architectures_that_cannot_be_written(
    tiny: Callable[[str], Path], architecture: str, changes: dict[str, Any], said: str
) -> None:
    config = AutoConfig.from_pretrained(tiny(architecture))
    for name, value in changes.items():
        setattr(config, name, value)
    with pytest.raises(ModelError, match=rf"cannot be written as GGUF, because .*{said}.*--merged"):
        check_writable(config)


@pytest.mark.exact
@pytest.mark.parametrize("architecture", ["qwen2", "llama_untied"])
def test_other_architectures_that_are_written(job: MakeJob, tiny: Any, architecture: str) -> None:
    made = job(model_name_or_path=str(tiny(architecture)), gguf=True)
    assert export_model(made).difference < 1e-4


def test_tokenizers_that_cannot_be_written(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    raw = json.loads((tiny("llama") / "tokenizer.json").read_text())
    assert read_gguf_tokenizer(tiny("llama"), 400).pre == "gpt-2"
    assert read_gguf_tokenizer(tiny("llama"), 400).types[-1] == 5
    words = {"type": "Split", "pattern": {"Regex": r"\w+"}, "behavior": "Isolated"}
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    for changes, said in (
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [words, level]}},
            "has no name in llama.cpp",
        ),
        ({"model": raw["model"] | {"byte_fallback": True}}, "not a byte-level BPE"),
        ({"normalizer": {"type": "Lowercase"}}, "not a byte-level BPE"),
        ({"model": {"type": "Unigram"}}, "no tokenizer.json with a BPE"),
    ):
        (tmp_path / "tokenizer.json").write_text(json.dumps(raw | changes))
        with pytest.raises(ModelError, match=said):
            read_gguf_tokenizer(tmp_path, 400)
    with pytest.raises(ModelError, match="beyond the embedding"):
        read_gguf_tokenizer(tiny("llama"), 10)


def test_the_command_prints_the_check_or_the_reason(
    job: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(asdict(job())))
    capsys.readouterr()
    assert exporting.main([str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["answers"] == 6
    shutil.rmtree(tmp_path / "out")
    file.write_text(json.dumps(asdict(job(model_name_or_path=str(write_tiny_model(tmp_path / "m"))))))
    (tmp_path / "m" / "model.safetensors").unlink()
    assert exporting.main([str(file)]) == 1
    assert "has no safetensors weights" in capsys.readouterr().err.splitlines()[-1]
