"""Merged weights have the names of a model's files, and the values of its adapted layers."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from hypo_engine.config import TrainConfig
from hypo_engine.forward.packed import base_model
from hypo_engine.models.merged_weights import weights_as_in_files
from hypo_engine.models.policy import load_policy

CPU = torch.device("cpu")


@pytest.mark.parametrize("architecture", ["llama", "llama_untied", "gpt2", "gemma2"])
@pytest.mark.parametrize("rank", [0, 4])
def test_files_and_merged_weights_have_the_same_names(
    tiny: Callable[[str], Path], architecture: str, rank: int
) -> None:
    folder = tiny(architecture)
    config = TrainConfig(lora_r=rank, precision="float32")
    policy = load_policy(config, str(folder), pad_id=0, device=CPU)
    before = dict(weights_as_in_files(base_model(policy.model)))
    stored = load_file(folder / "model.safetensors")
    assert before.keys() == stored.keys()
    assert all(torch.equal(before[name], stored[name]) for name in stored)
    with torch.no_grad():
        for index, parameter in enumerate(policy.parameters()):
            parameter.add_(0.02 * math.cos(index))
        logits = policy.model(torch.tensor([[5, 90, 33]])).logits
    other = AutoModelForCausalLM.from_pretrained(folder)
    merged = dict(weights_as_in_files(base_model(policy.model)))
    other.load_state_dict(merged, strict=False)
    with torch.no_grad():
        assert torch.allclose(other(torch.tensor([[5, 90, 33]])).logits, logits, atol=1e-3)


def test_experts_are_apart_as_in_the_files(tmp_path: Path) -> None:
    sizes = AutoConfig.for_model(
        "qwen3_moe", vocab_size=64, hidden_size=32, intermediate_size=16, moe_intermediate_size=16,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, num_experts=4,
        num_experts_per_tok=2, head_dim=16,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(sizes).save_pretrained(tmp_path)
    found = dict(weights_as_in_files(AutoModelForCausalLM.from_pretrained(tmp_path)))
    stored = load_file(tmp_path / "model.safetensors")
    assert found.keys() == stored.keys()
    assert all(torch.equal(found[name], stored[name]) for name in stored)
