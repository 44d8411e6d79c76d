"""A trained model as a folder that ``AutoModelForCausalLM.from_pretrained`` loads, adapters merged."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hypo_engine.errors import ModelError
from hypo_engine.models.load import load_model, stored_dtype
from hypo_engine.models.untrusted import read_config


def load_merged(place: str, adapters: Sequence[Path]) -> Any:
    """Load a model in the data type of its files, on the CPU, with adapters merged into its weights."""
    return load_model(place, dtype=stored_dtype(place), device=torch.device("cpu"), adapters=adapters)


def save_merged(model: Any, tokenizer: Any, place: str, folder: Path) -> None:
    """Write a loaded model to a new folder: safetensors, tokenizer, generation config.

    Args:
        place: Where it was loaded from. Its dropout settings are written back, which loading had set to 0.

    Raises:
        ModelError: transformers refuses to write it.
    """
    try:
        model.save_pretrained(folder)
    except ValueError as error:  # a generation config that contradicts itself, for example
        raise ModelError(f"The merged model cannot be written ({str(error)[:300]}).") from error
    tokenizer.save_pretrained(folder)
    file = folder / "config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    before = read_config(place).to_dict()
    values |= {name: before[name] for name in values if _is_dropout(name) and name in before}
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    for weights in folder.glob("*.safetensors"):  # safetensors lets nobody else read them
        weights.chmod(file.stat().st_mode & 0o777)


def _is_dropout(name: str) -> bool:
    return "dropout" in name or name.endswith(("pdrop", "_drop"))
