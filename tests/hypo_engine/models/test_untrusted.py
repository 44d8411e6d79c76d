"""Model files that request remote code or a kernel."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch

from hypo_engine.errors import ModelError
from hypo_engine.models.adapters import attach_lora, check_adapter
from hypo_engine.models.load import load_model
from hypo_engine.training.memory_check import model_shape

CPU = torch.device("cpu")
KERNELS = ["kernels-community/flash-attn", "someone/evil@main:run", "flash_attention_2", "msa|someone/evil"]


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def load(folder: Path) -> Any:
    return load_model(str(folder), dtype=torch.float32, device=CPU)


@pytest.fixture
def folder(tiny: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(copytree(tiny("llama"), tmp_path / "model"))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_model_names_no_attention(tiny: Callable[[str], Path], folder: Path, name: str, key: str) -> None:
    """Each of these makes transformers look for a kernel on the hub."""
    change(folder / "config.json", **{key: name})
    model = load(folder)
    assert model.config._attn_implementation == "sdpa"
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, load(tiny("llama"))(ids).logits)
    assert model_shape(str(folder)) is not None


def test_nested_configurations_name_no_attention(tmp_path: Path) -> None:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text, vision = sizes | {"head_dim": 8}, sizes | {"image_size": 8}
    config = Gemma3Config(
        text_config=text | {"num_key_value_heads": 1, "vocab_size": 64, "pad_token_id": 0},
        vision_config=vision | {"patch_size": 4},
        mm_tokens_per_image=4,
        image_token_index=5,
    )
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path / "gemma3")
    written = json.loads((tmp_path / "gemma3" / "config.json").read_text())
    for part in (written, written["text_config"], written["vision_config"]):
        part["attn_implementation"] = "kernels-community/flash-attn"
    (tmp_path / "gemma3" / "config.json").write_text(json.dumps(written))
    config = load(tmp_path / "gemma3").config
    assert config._attn_implementation == "sdpa"
    assert config.get_text_config()._attn_implementation == "sdpa"


def test_a_mixture_names_no_kernel_of_its_experts(tmp_path: Path) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    MixtralForCausalLM(
        MixtralConfig(**sizes, num_key_value_heads=1, vocab_size=64, num_local_experts=2)
    ).save_pretrained(tmp_path / "mixtral")
    change(tmp_path / "mixtral" / "config.json", experts_implementation="deepgemm")
    assert load(tmp_path / "mixtral").config._experts_implementation in ("grouped_mm", "eager")


@pytest.mark.parametrize("method", ["mxfp4", "fp8", "bitsandbytes", "of my own"])
def test_quantised_weights_are_refused_by_name(folder: Path, method: str) -> None:
    change(folder / "config.json", quantization_config={"quant_method": method})
    with pytest.raises(ModelError, match=f"quantised weights \\({method}\\).*bfloat16 or float32"):
        load(folder)


def test_a_repository_with_an_adapter_leads_to_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(folder / "config.json", model_type="llama")
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "someone/evil"})
    )
    with pytest.raises(ModelError, match="carries a LoRA adapter"):
        load(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("megatron_config", {"module": 1}),
        ("modules_to_save", ["lm_head"]),
        ("use_dora", True),
        ("target_modules", "(a*)*b"),
        ("rank_pattern", {"(a*)*b": 4}),
        ("bias", "all"),
        ("peft_type", "IA3"),
        ("layer_replication", [[0, 2]]),
        ("something_new", "https://example.org"),
    ],
)
def test_an_adapter_is_plain_lora_or_refused(folder: Path, tmp_path: Path, field: str, value: Any) -> None:
    base = load(folder)
    lora = attach_lora(base, rank=2, alpha=4, target_modules="q_proj", seed=0, base_name=str(folder))
    lora.save_pretrained(tmp_path / "adapter")
    base = load(folder)
    config = check_adapter(base, tmp_path / "adapter")
    assert (config.r, config.lora_alpha) == (2, 4)
    assert {name.rpartition(".")[2] for name in config.target_modules} == {"q_proj"}
    change(tmp_path / "adapter" / "adapter_config.json", **{field: value})
    with pytest.raises(ModelError, match="adapter"):
        check_adapter(base, tmp_path / "adapter")


def test_an_adapter_runs_no_module_that_it_names(folder: Path, tmp_path: Path) -> None:
    lora = attach_lora(load(folder), rank=2, alpha=4, target_modules="q_proj", seed=0, base_name=str(folder))
    lora.save_pretrained(tmp_path / "adapter")
    change(tmp_path / "adapter" / "adapter_config.json", megatron_core="antigravity")
    assert check_adapter(load(folder), tmp_path / "adapter").megatron_core == "megatron.core"
