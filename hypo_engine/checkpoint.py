"""Checkpoints at optimiser-step boundaries: weights, optimiser, counters, and hashes that say whose they are.

    checkpoint-000020/
    ├── adapter/        PeftModel.from_pretrained reads it as it stands (model/ for full fine-tuning)
    ├── optimizer.pt    a state dict, read with weights_only=True
    └── state.json      step, counters, hashes of the configuration, the data and every file

A folder is written beside its place and renamed into it, so what exists is complete. The schedule, the
order of the data and every sample are functions of (seed, step); there is no generator state to keep.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hypo_engine.adapters import ADAPTER_WEIGHTS
from hypo_engine.disk import writing
from hypo_engine.errors import CheckpointError
from hypo_engine.policy import Policy

_NAME = re.compile(r"checkpoint-(\d+)")
_STATE = "state.json"
_DAMAGED = (
    "{} is damaged: its files are not those that were written; "
    "delete its folder to go on from the checkpoint before it."
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Which run a checkpoint belongs to."""

    config: str
    data: str
    model: str


@dataclass(slots=True)
class Counters:
    """What a run has done so far."""

    step: int = 0
    num_tokens: int = 0
    micro_batch: int = 0


def checkpoint_path(output_dir: Path, step: int) -> Path:
    """Where the checkpoint of a step is kept."""
    return output_dir / f"checkpoint-{step:06d}"


def weights_folder(checkpoint: Path) -> Path:
    """The adapter's folder of a checkpoint, or the full model's."""
    adapter = checkpoint / "adapter"
    return adapter if adapter.is_dir() else checkpoint / "model"


def latest_checkpoint(output_dir: Path) -> Path | None:
    """The checkpoint with the most steps, or None."""
    if not output_dir.is_dir():
        return None
    found = [(int(m[1]), path) for path in output_dir.iterdir() if (m := _NAME.fullmatch(path.name))]
    return max(found)[1] if found else None


def save_checkpoint(
    output_dir: Path,
    *,
    policy: Policy,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer,
    counters: Counters,
    fingerprint: Fingerprint,
) -> Path:
    """Write a complete checkpoint and return its folder; one of the same step is replaced.

    Raises:
        EngineError: the disk is full; what was there before is as it was.
    """
    final = checkpoint_path(output_dir, counters.step)
    temporary = output_dir / f".{final.name}-{secrets.token_hex(8)}"
    try:
        with writing(output_dir):
            output_dir.mkdir(parents=True, exist_ok=True)
            _save_weights(policy, tokenizer, temporary)
            with (temporary / "optimizer.pt").open("wb") as file:  # given a path, torch hides why it fails
                torch.save(optimizer.state_dict(), file)
            state = {
                "format": 1,
                "counters": asdict(counters),
                "fingerprint": asdict(fingerprint),
                "files": _hash_files(temporary),
            }
            (temporary / _STATE).write_text(json.dumps(state, indent=2))
            _flush(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def load_checkpoint(
    checkpoint: Path, *, policy: Policy, optimizer: torch.optim.Optimizer, fingerprint: Fingerprint
) -> Counters:
    """Put a checkpoint's weights and optimiser state in place and return its counters.

    Raises:
        CheckpointError: it is damaged, or belongs to another configuration, other data or another model.
    """
    state = read_state(checkpoint)
    for what, ours in asdict(fingerprint).items():
        if state["fingerprint"].get(what) != ours:
            raise CheckpointError(
                f"{checkpoint.name} belongs to a run with another {what}; "
                "give this run an output folder of its own, or start it with resume off."
            )
    try:
        _load_weights(policy, weights_folder(checkpoint))
        stored = torch.load(checkpoint / "optimizer.pt", map_location="cpu", weights_only=True)
        optimizer.load_state_dict(stored)
        return Counters(**state["counters"])
    except (SafetensorError, UnpicklingError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(_DAMAGED.format(checkpoint.name)) from error


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint's state and check every file against its hash.

    Raises:
        CheckpointError: a file is missing or was changed.
    """
    try:
        state: dict[str, Any] = json.loads((checkpoint / _STATE).read_text())
        complete = state["files"] == _hash_files(checkpoint) and {"counters", "fingerprint"} <= state.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        complete = False
    if not complete:
        raise CheckpointError(_DAMAGED.format(checkpoint.name))
    return state


def remove_checkpoint(checkpoint: Path) -> None:
    """Delete a checkpoint, if it is still there; it stops counting as one before its files go."""
    doomed = checkpoint.with_name(f".{checkpoint.name}-{secrets.token_hex(8)}")
    try:
        checkpoint.rename(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed, ignore_errors=True)


def _save_weights(policy: Policy, tokenizer: Any, folder: Path) -> None:
    if not policy.adapted:
        policy.model.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        return
    from peft import get_peft_model_state_dict

    adapter = folder / "adapter"
    adapter.mkdir(parents=True)
    state = get_peft_model_state_dict(policy.model, save_embedding_layers=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, adapter / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = policy.model.peft_config["default"]
    training, config.inference_mode = config.inference_mode, True
    config.save_pretrained(adapter)
    config.inference_mode = training


def _load_weights(policy: Policy, folder: Path) -> None:
    if policy.adapted:
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(policy.model, load_file(folder / ADAPTER_WEIGHTS))
        return
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    parameters = dict(policy.model.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def _hash_files(folder: Path) -> Mapping[str, str]:
    """SHA-256 of every file below a folder, but of state.json and hidden files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != _STATE:
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _flush(folder: Path) -> None:
    """Have the files on disk before the rename makes them visible."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
