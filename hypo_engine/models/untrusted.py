"""Restrictions on a model's files, which are untrusted input.

config.json may name an attention function or an expert kernel, and transformers downloads and runs one
that is named like a hub repository. Quantised weights load kernels from the hub as well. An adapter's
configuration may name a Python module that PEFT imports. None of these settings is accepted from a file.
bitsandbytes, which PEFT imports, downloads and runs a kernel on some processors of its own accord, so the
package that fetches it cannot be imported.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from hypo_engine.errors import ModelError
from hypo_engine.files.check import quantised

os.environ["USE_HUB_KERNELS"] = "0"  # read on transformers' import
sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns that it could not fetch the kernel

_LORA_FIELDS = frozenset(
    {"r", "lora_alpha", "target_modules", "exclude_modules", "fan_in_fan_out", "use_rslora"}
)
"""Fields of an adapter's configuration that determine which layers it changes, and how."""

_LORA_IGNORED = frozenset(
    {
        "peft_type",
        "task_type",
        "peft_version",
        "base_model_name_or_path",
        "auto_mapping",
        "revision",
        "inference_mode",
        "lora_dropout",
        "init_lora_weights",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "runtime_config",
        "megatron_core",
        "qalora_group_size",
        "ensure_weight_tying",
    }
)
"""Fields that describe an adapter's training, or name what is never loaded; they are ignored."""


def read_config(resolved: str) -> Any:
    """A model's configuration, without what could fetch or run code.

    Args:
        resolved: A folder or a hub id.

    Raises:
        ModelError: the weights are quantised.
        Exception: whatever transformers raises for a configuration that it cannot read.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(resolved, trust_remote_code=False)
    for part in _parts(config):
        part._attn_implementation = None  # transformers' own choice
        part._experts_implementation = None
        method = getattr(part, "quantization_config", None) or getattr(part, "compression_config", None)
        if method:
            name = method.get("quant_method") if isinstance(method, dict) else None
            raise quantised(resolved, str(name or "of an unknown kind"))
    return config


def _parts(config: Any) -> Iterator[Any]:
    """A configuration and its nested ones."""
    from transformers import PreTrainedConfig

    yield config
    for value in list(vars(config).values()):
        for inner in value.values() if isinstance(value, dict) else [value]:
            if isinstance(inner, PreTrainedConfig):
                yield from _parts(inner)


def refuse_adapter_repository(resolved: str) -> None:
    """Refuse a hub id of an adapter, for which transformers would load the base model that it names.

    Raises:
        ModelError: the repository contains an adapter.
    """
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        found = find_adapter_config_file(resolved)
    except Exception:  # a missing repository is reported on loading the model
        return
    if found is not None:
        raise ModelError(
            f"{resolved!r} carries a LoRA adapter, so switching the adapter off would not give "
            "the reference; download it and give its folder, which is merged into its base model."
        )


def read_lora_config(file: Path) -> Any:
    """The PEFT configuration of a stored adapter, from the fields that describe its layers only.

    Raises:
        ModelError: it is not a plain LoRA adapter.
        OSError, ValueError: it cannot be read.
    """
    from peft import LoraConfig

    values = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or values.get("peft_type") != "LORA":
        raise ModelError(f"{file.name} does not describe a LoRA adapter; export the run's checkpoint again.")
    usual = {field.name: getattr(LoraConfig(), field.name) for field in fields(LoraConfig)}
    other = sorted(
        name
        for name, value in values.items()
        if name not in _LORA_FIELDS | _LORA_IGNORED and value and value != usual.get(name)
    )
    if other:
        raise ModelError(
            f"The adapter uses {', '.join(other)}, which is not supported; train a plain LoRA adapter."
        )
    given = {name: value for name, value in values.items() if name in _LORA_FIELDS and value is not None}
    for name in ("target_modules", "exclude_modules"):  # a string would be a regular expression
        if not isinstance(given.get(name, []), list):
            raise ModelError(f"The adapter's {name} is not a list of names; train a plain LoRA adapter.")
    return LoraConfig(**given, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", inference_mode=True)
