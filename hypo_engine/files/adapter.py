"""LoRA adapters as base models: an adapter's folder names the model that it is merged into. No torch here."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hypo_engine.errors import ModelError
from hypo_engine.files.demo import DEMO_NAME, DEMO_UPSTREAM
from hypo_engine.files.weights import Find, read_shapes, stored_tensors
from hypo_engine.model_spec import PREFIX

ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"

MOST: Final = 8
"""The largest number of adapters that are merged one after the other."""

_CHANGE_THE_BASE: Final = frozenset({"pissa", "olora", "corda", "loftq", "lora"})
"""Ways to initialise an adapter that leave another base model; the last one is lora_ga."""

_FOUR_BIT_NOTE: Final = "quantization.json"
"""Beside an adapter that was trained on 4-bit weights: the arguments of transformers' BitsAndBytesConfig."""

_TENSOR: Final = re.compile(r"(?:base_model\.model\.)?(.+)\.(lora_[AB])\.weight")


def unstack(name: str) -> tuple[str, tuple[Path, ...]]:
    """The whole model at the bottom of a base model's name, and the adapters to merge into it, in order.

    An adapter's folder has no config.json of its own. Its base may be another adapter's folder.

    Raises:
        ModelError: an adapter names no base model, or one that cannot be found by its name.
    """
    adapters: list[Path] = []
    while (folder := adapter_folder(name)) is not None:
        if folder in adapters or len(adapters) == MOST:
            raise ModelError(
                f"The adapter {str(folder)!r} names a base model that leads back to adapters; correct "
                f"base_model_name_or_path in its {ADAPTER_CONFIG}."
            )
        adapters.insert(0, folder)
        name = _base_of(folder)
    return name, tuple(adapters)


def adapter_folder(name: str) -> Path | None:
    """The folder that a base model's name refers to, if it holds an adapter and no model of its own."""
    try:
        folder = Path(name).expanduser()
        alone = (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").exists()
        return folder.resolve() if alone else None
    except (OSError, ValueError, RuntimeError):  # an invalid path, or the home of an unknown user
        return None


def note_four_bit(folder: Path, others: Sequence[str]) -> None:
    """Record beside an adapter that it was trained on 4-bit weights.

    Args:
        others: Names of the linear layers that were not in 4 bits, among them the output head.
    """
    said = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "llm_int8_skip_modules": list(others),
    }
    (folder / _FOUR_BIT_NOTE).write_text(json.dumps(said), encoding="utf-8")


def was_on_four_bit(folder: Path) -> bool:
    """Whether an adapter was trained on 4-bit weights."""
    try:
        return json.loads((folder / _FOUR_BIT_NOTE).read_text(encoding="utf-8"))["load_in_4bit"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _base_of(folder: Path) -> str:
    """The base model that an adapter names."""
    name = _settings(folder).get("base_model_name_or_path")
    if not isinstance(name, str) or not name.strip():
        raise ModelError(
            f"The adapter {str(folder)!r} does not say which model it adapts; write base_model_name_or_path "
            f"into its {ADAPTER_CONFIG}."
        )
    if name.startswith(PREFIX):
        raise ModelError(
            f"The adapter {str(folder)!r} adapts the model of {name.replace(':', ' ')}; export that run with "
            f"--merged, and write the folder's path as base_model_name_or_path into {ADAPTER_CONFIG}."
        )
    return DEMO_NAME if name == DEMO_UPSTREAM else name


def _settings(folder: Path) -> Mapping[str, Any]:
    try:
        values = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{ADAPTER_CONFIG} in {str(folder)!r} cannot be read; export the adapter again."
        ) from error
    if not isinstance(values, dict) or values.get("peft_type") != "LORA":
        raise ModelError(f"{str(folder)!r} holds no LoRA adapter; give the folder of one, or merge it first.")
    start = values.get("init_lora_weights")
    if str(start).partition("_")[0].lower() in _CHANGE_THE_BASE:
        raise ModelError(
            f"The adapter {str(folder)!r} was initialised by {start}, which changed the weights of its base "
            "model, so it does not belong to those on disk; convert it to a plain LoRA adapter with PEFT."
        )
    return values


def check_adapter_files(folder: Path, find: Find, base: str) -> None:
    """Refuse an adapter that was trained on a model of other sizes, as far as the files show it.

    Args:
        find: Returns the path of a file of the base model.
        base: The base model's name in errors.

    Raises:
        ModelError: its weights are missing or damaged, or do not fit the base model's.
    """
    weights = folder / ADAPTER_WEIGHTS
    if not weights.is_file():
        raise ModelError(f"The adapter {str(folder)!r} has no {ADAPTER_WEIGHTS}; export it again.")
    shapes = read_shapes(weights, str(folder))
    stored = stored_tensors(find, base, whole=False)
    for tensor, shape in shapes.items():
        if not (found := _TENSOR.fullmatch(tensor)) or len(shape) != 2:
            raise ModelError(
                f"The adapter {str(folder)!r} holds {tensor[:120]}, which no plain LoRA adapter has; "
                "train one that adapts linear layers alone."
            )
        side = shape[1] if found[2] == "lora_A" else shape[0]
        layer = _layer(stored or {}, found[1])
        if layer is not None and side not in layer:
            raise ModelError(
                f"The adapter {str(folder)!r} does not fit {base!r}, which has other sizes in {found[1]}. "
                f"Name the model that it was trained on as base_model_name_or_path in its {ADAPTER_CONFIG}."
            )


def _layer(stored: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, ...] | None:
    """The shape of a module's weight; None if it is stored under another name.

    Stored names may lack the first parts of the module's name.
    """
    parts = f"{name}.weight".split(".")
    names = (".".join(parts[start:]) for start in range(len(parts) - 3))
    return next((stored[tensor] for tensor in names if tensor in stored), None)
