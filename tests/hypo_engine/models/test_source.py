"""Runs that start from a trained adapter: it is merged into the base, which is then the reference."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.errors import CheckpointError, ModelError
from hypo_engine.files.adapter import check_adapter_files, unstack
from hypo_engine.files.check import folder_finder
from hypo_engine.generate import GenerationRequest, load_served
from hypo_engine.models.adapters import attach_lora, quiet_peft
from hypo_engine.models.load import load_model, model_identity
from hypo_engine.models.source import ModelSource, resolve_source
from hypo_engine.pair_scores import load_pair_scorer
from hypo_engine.training.loop import TrainResult, train
from tests.hypo_engine.conftest import Recorder

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 9, 200, 17, 3, 42]])
MakeConfig = Callable[..., TrainConfig]


def run(
    config: TrainConfig, pairs: list[Pair], folder: Path, run_model: ModelSource | None = None
) -> tuple[TrainResult, Recorder]:
    recorder = Recorder()
    result = train(
        config,
        pairs,
        eval_pairs=pairs[:3],
        eval_prompts=[pair.prompt for pair in pairs[:3]],
        output_dir=folder,
        models_dir=folder,
        cache_dir=folder.parent / "cache",
        reporter=recorder,
        run_model=run_model,
    )
    return result, recorder


@pytest.fixture(scope="module")
def first(
    tiny: Callable[[str], Path], pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Recorder]:
    """The adapter of a run on the tiny Llama, and what the run reported."""
    config = TrainConfig(
        model_name_or_path=str(tiny("llama")),
        precision="float32",
        method="dpo",
        max_steps=3,
        lora_r=4,
        learning_rate=2e-2,
        max_prompt_length=100,
        max_completion_length=20,
    )
    result, recorder = run(config, pairs, tmp_path_factory.mktemp("first") / "out")
    assert result.adapter_dir is not None
    return result.adapter_dir, recorder


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("rslora", [False, True])
def test_merging_is_pefts_merging(
    tiny: Callable[[str], Path], tmp_path: Path, architecture: str, rslora: bool
) -> None:
    folder = tiny(architecture)
    model = attach_lora(
        load_model(str(folder), dtype=torch.float32, device=CPU),
        rank=3,
        alpha=5,
        target_modules="all-linear",
        seed=0,
        base_name=str(folder),
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
    model.peft_config["default"].use_rslora = rslora
    model.save_pretrained(tmp_path / "adapter")
    base = load_model(str(folder), dtype=torch.float32, device=CPU)
    with quiet_peft():
        theirs = PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload()
    ours = load_model(str(folder), dtype=torch.float32, device=CPU, adapters=[tmp_path / "adapter"])
    assert torch.allclose(ours(IDS).logits, theirs(IDS).logits, atol=1e-5)
    bare = load_model(str(folder), dtype=torch.float32, device=CPU)
    assert not torch.allclose(ours(IDS).logits, bare(IDS).logits, atol=1e-2)


@pytest.mark.exact
@pytest.mark.parametrize("rank", [4, 0])
@pytest.mark.parametrize("named", ["folder", "run"])
def test_the_merged_model_is_the_reference_of_step_zero(
    first: tuple[Path, Recorder], config: MakeConfig, pairs: list[Pair], tmp_path: Path, named: str, rank: int
) -> None:
    adapter, before = first
    base = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    name = str(adapter) if named == "folder" else "run:7"
    given = None if named == "folder" else ModelSource(base, (adapter,))
    result, recorder = run(
        config(model_name_or_path=name, method="hypo", max_steps=1, lora_r=rank),
        pairs,
        tmp_path / "out",
        given,
    )
    start = recorder.values[0]
    assert start["eval_loss"] == pytest.approx(math.log(2), abs=1e-6)
    # full fine-tuning has a reference of its own, whose products may be summed in another order
    assert start["eval_objective/kl"] == pytest.approx(0.0, abs=0 if rank else 1e-5)
    ended = before.values[3]  # the policy that the first run ended with is this one's reference
    for metric in ("eval_logps/chosen", "eval_logps/rejected"):
        assert start[metric] == pytest.approx(ended[metric], abs=1e-3)
        assert start[metric] != pytest.approx(before.values[0][metric], abs=1e-2)
    if result.adapter_dir:
        written = json.loads((result.adapter_dir / "adapter_config.json").read_text())
        assert written["base_model_name_or_path"] == name


def test_a_resumed_run_needs_the_same_start(
    first: tuple[Path, Recorder], config: MakeConfig, pairs: list[Pair], tmp_path: Path
) -> None:
    adapter, _ = first
    started = config(model_name_or_path="run:7", method="dpo", max_steps=1)
    base = str(unstack(str(adapter))[0])
    run(started, pairs, tmp_path / "out", ModelSource(base, (adapter,)))
    # the same weights in another place are the same model
    copy = Path(copytree(adapter, tmp_path / "copy"))
    _, again = run(started, pairs, tmp_path / "out", ModelSource(base, (copy,)))
    assert any("Continuing from step 1" in message for message in again.messages)
    tensors = load_file(copy / "adapter_model.safetensors")
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, copy / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="was made with model"):
        run(started, pairs, tmp_path / "out", ModelSource(base, (copy,)))


def test_the_cached_reference_is_that_of_the_merged_weights(
    first: tuple[Path, Recorder], tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    adapter, _ = first
    model = load_model(str(tiny("llama")), dtype=torch.float32, device=CPU)
    bare, merged = (model_identity(str(tiny("llama")), model, found) for found in ((), (adapter,)))
    assert bare != merged
    copy = Path(copytree(adapter, tmp_path / "copy"))
    assert model_identity(str(tiny("llama")), model, (copy,)) == merged
    settings = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 1}))
    assert model_identity(str(tiny("llama")), model, (copy,)) != merged


@pytest.mark.exact
def test_answers_and_scores_of_such_a_run_are_measured_from_the_merged_model(
    first: tuple[Path, Recorder], config: MakeConfig, pairs: list[Pair], tmp_path: Path
) -> None:
    adapter, _ = first
    base, _ = unstack(str(adapter))
    source = ModelSource(base, (adapter,))
    started = config(model_name_or_path="run:7", method="dpo", max_steps=2)
    result, recorder = run(started, pairs, tmp_path / "out", source)
    merged = load_served("run:7", tmp_path, run_model=source)
    bare = load_served(base, tmp_path)
    bare.add_adapter("first", adapter)
    merged.add_adapter("second", str(result.adapter_dir))

    def ask(name: str | None) -> GenerationRequest:
        return GenerationRequest("What is the capital?", name, 6, 0.0, 1.0, 0)

    [reference, second] = merged.answer([ask(None), ask("second")])
    [trained] = bare.answer([ask("first")])
    assert reference.text == trained.text
    assert reference.policy_logp == pytest.approx(trained.policy_logp, abs=1e-3)
    assert second.policy_logp != pytest.approx(second.reference_logp, abs=1e-3)
    scorer = load_pair_scorer(started, result.checkpoint_dir, tmp_path, run_model=source)
    scores = [score for score in scorer.score(pairs[:3]) if hasattr(score, "reference_chosen")]
    mean = sum(score.reference_chosen or 0 for score in scores) / len(scores)
    assert mean == pytest.approx(recorder.values[0]["eval_logps/chosen"], abs=1e-3)


def test_adapters_on_adapters_are_merged_in_order(
    first: tuple[Path, Recorder], config: MakeConfig, pairs: list[Pair], tmp_path: Path
) -> None:
    adapter, _ = first
    base, one = unstack(str(adapter))
    assert (Path(base).is_dir(), one) == (True, (adapter,))
    result, _ = run(
        config(model_name_or_path=str(adapter), method="dpo", max_steps=1), pairs, tmp_path / "two"
    )
    assert result.adapter_dir is not None
    source = resolve_source(str(result.adapter_dir), tmp_path)
    assert source == ModelSource(base, (adapter, result.adapter_dir))
    source = resolve_source("run:9", tmp_path, ModelSource(str(adapter), (result.adapter_dir,)))
    assert source == ModelSource(base, (adapter, result.adapter_dir))


def changed(adapter: Path, folder: Path, **settings: Any) -> Path:
    copytree(adapter, folder)
    values = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(values | settings))
    return folder


def test_what_cannot_be_a_start(
    first: tuple[Path, Recorder], tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    adapter, _ = first
    with pytest.raises(ModelError, match="a run of HyPO Studio, whose files the engine alone"):
        resolve_source("run:7", tmp_path)
    with pytest.raises(ModelError, match="must be run:NUMBER or run:NUMBER@STEP"):
        resolve_source("run:x", tmp_path)
    with pytest.raises(ModelError, match="does not say which model it adapts"):
        resolve_source(str(changed(adapter, tmp_path / "a", base_model_name_or_path=None)), tmp_path)
    circle = changed(adapter, tmp_path / "b", base_model_name_or_path=str(tmp_path / "b"))
    with pytest.raises(ModelError, match="leads back to adapters"):
        resolve_source(str(circle), tmp_path)
    with pytest.raises(ModelError, match="adapts the model of run 3; export that run with --merged"):
        resolve_source(str(changed(adapter, tmp_path / "c", base_model_name_or_path="run:3")), tmp_path)
    with pytest.raises(ModelError, match="holds no LoRA adapter"):
        resolve_source(str(changed(adapter, tmp_path / "d", peft_type="IA3")), tmp_path)
    for start in ("pissa_niter_4", "lora_ga"):
        folder = changed(adapter, tmp_path / start, init_lora_weights=start)
        with pytest.raises(ModelError, match=f"initialised by {start}, which changed the weights"):
            resolve_source(str(folder), tmp_path)
    assert resolve_source(str(changed(adapter, tmp_path / "e", init_lora_weights="gaussian")), tmp_path)
    other = str(tiny("gpt2"))
    with pytest.raises(ModelError, match="does not fit this base model"):
        load_model(other, dtype=torch.float32, device=CPU, adapters=[adapter])


def test_the_files_show_an_adapter_of_another_base(
    first: tuple[Path, Recorder], tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    adapter, _ = first
    check_adapter_files(adapter, folder_finder(tiny("llama")), "llama")
    check_adapter_files(adapter, folder_finder(tmp_path), "not here")
    wider = Path(copytree(adapter, tmp_path / "wider"))
    tensors = load_file(wider / "adapter_model.safetensors")
    wide = {name: torch.ones(4, 48) if "lora_A" in name else t for name, t in tensors.items()}
    save_file(wide, wider / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="does not fit 'llama', which has other sizes"):
        check_adapter_files(wider, folder_finder(tiny("llama")), "llama")
    save_file(
        {"base_model.model.lm_head.modules_to_save": torch.ones(2, 2)}, wider / "adapter_model.safetensors"
    )
    with pytest.raises(ModelError, match="no plain LoRA adapter has"):
        check_adapter_files(wider, folder_finder(tiny("llama")), "llama")
    (wider / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no adapter_model"):
        check_adapter_files(wider, folder_finder(tiny("llama")), "llama")


def test_a_table_that_embeddings_and_head_share_is_not_merged(
    first: tuple[Path, Recorder], tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(copytree(first[0], tmp_path / "adapter"))
    tensors = {
        "base_model.model.lm_head.lora_A.weight": torch.ones(4, 32),
    }
    model = load_model(str(tiny("llama")), dtype=torch.float32, device=CPU)
    tensors["base_model.model.lm_head.lora_B.weight"] = torch.ones(model.lm_head.weight.shape[0], 4)
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="adapts lm_head, whose weights the embeddings"):
        load_model(str(tiny("llama")), dtype=torch.float32, device=CPU, adapters=[folder])
