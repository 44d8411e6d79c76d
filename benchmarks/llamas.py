"""Llamas with random weights, for a GPU. They are as fast as trained ones."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks.jobs import Job
from hypo_engine.models.load import default_device

SIZES: dict[str, dict[str, int]] = {
    "llama-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
    "llama-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
}


def write(job: Job) -> dict[str, Any]:
    """Write model ``job.setting["size"]`` to ``job.setting["folder"]`` with ``job.model``'s tokenizer."""
    folder = Path(job.setting["folder"])
    config = LlamaConfig(
        **(SIZES | job.setting.get("sizes", {}))[job.setting["size"]],
        max_position_embeddings=8192,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    with torch.device(default_device()):
        model = auto.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    for file in Path(job.model).glob("*token*"):
        shutil.copy(file, folder)
    return {"parameters": sum(p.numel() for p in model.parameters())}
