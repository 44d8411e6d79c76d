"""Checkpoints at optimiser-step boundaries: weights, optimiser, counters, and hashes of the run.

    checkpoint-000020/
    ├── adapter/        PeftModel.from_pretrained reads it as it stands (model/ for full fine-tuning)
    ├── head.safetensors    the head of a reward model
    ├── value_head.safetensors    PPO's value head
    ├── classifier/     the reward model as a whole, after the last step
    ├── optimizer.pt    a state dict, read with weights_only=True
    ├── reference.safetensors    reference log-probabilities of the pairs, NaN where none was computed
    └── state.json      counters, what decides the run's bits by name, and hashes of every file and of itself

A folder is written under a temporary name, flushed and renamed, so an existing checkpoint is complete even
after a power failure. The schedule, the order of the data and every sample are functions of (seed, step),
so there is no generator state to save.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hypo_engine.chat.thinking import note_thinking
from hypo_engine.disk import writing
from hypo_engine.errors import CheckpointError
from hypo_engine.files.adapter import ADAPTER_WEIGHTS, note_four_bit
from hypo_engine.models.classifier import RewardNote, save_classifier
from hypo_engine.models.heads import ScalarHead
from hypo_engine.models.linear_layers import whole_layers
from hypo_engine.models.policy import Policy
from hypo_engine.reference.scores import ReferenceCache
from hypo_engine.training.fingerprint import Fingerprint, differences
from hypo_engine.training.metrics import StepMetrics

FORMAT = 2
"""Version of the checkpoint's files; other versions are not read."""

_NAME = re.compile(r"checkpoint-(\d+)")
_STATE, _OPTIMIZER, _REFERENCE = "state.json", "optimizer.pt", "reference.safetensors"
HEAD_FILE, _VALUE_HEAD = "head.safetensors", "value_head.safetensors"
ADAPTER_FOLDER, MODEL_FOLDER, CLASSIFIER_FOLDER = "adapter", "model", "classifier"
RESUME_FILES = (_OPTIMIZER, _REFERENCE, _VALUE_HEAD)
"""Files that are needed only to resume from a checkpoint."""

_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP}
"""Errors of file systems that do not support fsync on a folder."""

_ELSEWHERE = "give this run an output folder of its own, or start it with resume off."


class DamagedCheckpoint(CheckpointError):
    """A checkpoint's files differ from those that were written."""

    def __init__(self, checkpoint: Path, what: str) -> None:
        super().__init__(f"{checkpoint.name} is damaged: {what}.")


@dataclass(slots=True)
class Counters:
    """A run's progress and measurements so far.

    Attributes:
        num_tokens: Of the stored prompts and answers that the steps read.
        samples: Responses drawn to train on; ``sample_tokens`` is their length.
        seconds: What the steps took.
        micro_batch: Pairs per forward and backward pass that turned out to fit; 0 means as configured.
        best: The highest value of the configuration's ``metric_for_best_model``, and the step that had it.
        window: Measurements since the last report.
        metrics: The last value of every metric.
    """

    step: int = 0
    num_tokens: int = 0
    samples: int = 0
    sample_tokens: int = 0
    seconds: float = 0.0
    micro_batch: int = 0
    best: float | None = None
    best_step: int = 0
    window: StepMetrics = field(default_factory=StepMetrics)
    metrics: dict[str, float] = field(default_factory=dict)


def checkpoint_path(output_dir: Path, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return output_dir / f"checkpoint-{step:06d}"


def weights_folder(checkpoint: Path) -> Path:
    """The folder to use within a checkpoint: a whole reward model, else an adapter, else a full model."""
    classifier = checkpoint / CLASSIFIER_FOLDER
    return classifier if classifier.is_dir() else trained_folder(checkpoint)


def trained_folder(checkpoint: Path) -> Path:
    """The folder of the trained weights within a checkpoint."""
    adapter = checkpoint / ADAPTER_FOLDER
    return adapter if adapter.is_dir() else checkpoint / MODEL_FOLDER


def checkpoints(output_dir: Path) -> list[Path]:
    """The checkpoints in a folder, latest step first."""
    if not output_dir.is_dir():
        return []
    found = [(int(m[1]), path) for path in output_dir.iterdir() if (m := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def latest_checkpoint(output_dir: Path) -> Path | None:
    """The checkpoint of the latest step, or None."""
    return next(iter(checkpoints(output_dir)), None)


def save_checkpoint(
    output_dir: Path,
    *,
    policy: Policy,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer,
    reference: ReferenceCache | None,
    counters: Counters,
    fingerprint: Fingerprint,
    reward_note: RewardNote | None = None,
) -> Path:
    """Write a checkpoint and return its folder; an existing one of the same step is replaced.

    Incomplete folders of killed processes in ``output_dir`` are deleted first.

    Args:
        reference: Saved with the checkpoint, so that a resumed run uses the same reference bits whatever
            happens to the shared cache.
        reward_note: How to use a finished reward model, which is then saved as a whole; None otherwise.

    Raises:
        EngineError: the disk is full; existing checkpoints are unchanged.
    """
    final = checkpoint_path(output_dir, counters.step)
    _sweep(output_dir)
    temporary = output_dir / f".{final.name}-{secrets.token_hex(8)}"
    try:
        with writing(output_dir):
            output_dir.mkdir(parents=True, exist_ok=True)
            _save_weights(policy, tokenizer, temporary)
            if reward_note is not None:
                save_classifier(policy, tokenizer, temporary / CLASSIFIER_FOLDER, reward_note)
            with (temporary / _OPTIMIZER).open("wb") as file:  # given a path, torch hides why it fails
                torch.save(optimizer.state_dict(), file)
            if reference is not None:
                save_file({"logps": reference.values}, temporary / _REFERENCE)
            state = {
                "format": FORMAT,
                "counters": asdict(counters),
                "made_with": fingerprint.facts(),
                "reference": reference.key if reference is not None else None,
                "files": _hash_files(temporary),
            }
            (temporary / _STATE).write_text(json.dumps(state | {"sha256": _state_hash(state)}, indent=2))
            _flush(temporary)
            remove_checkpoint(final)
            temporary.rename(final)
            _flush_entry(output_dir)
            _flush_entry(output_dir.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def load_checkpoint(
    checkpoint: Path,
    *,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    reference: ReferenceCache | None,
    fingerprint: Fingerprint,
) -> Counters:
    """Load a checkpoint's weights, optimiser state and reference, and return its counters.

    Raises:
        DamagedCheckpoint: its files differ from those that were written.
        CheckpointError: it has another format, or belongs to another configuration, data, model or
            reference; the message names every difference with both values.
    """
    state = read_state(checkpoint)
    if (found := differences(fingerprint.completed(state["made_with"]), fingerprint.facts())) is not None:
        raise CheckpointError(
            f"{checkpoint.name} was made with {found[0]}; this run has {found[1]}: {_ELSEWHERE}"
        )
    try:
        # with another number of processes the batches change, and so do the last bits of the reference
        if reference is not None and reference.key == state["reference"]:
            _load_reference(checkpoint, reference)
        load_weights(policy, checkpoint)
        if policy.value_head is not None:
            _load_head(policy.value_head, checkpoint / _VALUE_HEAD)
        stored = torch.load(checkpoint / _OPTIMIZER, map_location="cpu", weights_only=True)
        optimizer.load_state_dict(stored)
        counters = state["counters"]
        return Counters(**(counters | {"window": StepMetrics(**counters["window"])}))
    except (
        SafetensorError,
        UnpicklingError,
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
        OSError,
    ) as error:
        raise DamagedCheckpoint(checkpoint, f"it cannot be read ({str(error)[:200]})") from error


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint's state and check every file against its hash.

    Raises:
        DamagedCheckpoint: a file is missing, was added or was changed; the message names it.
        CheckpointError: it has another format.
    """
    try:
        state: dict[str, Any] = json.loads((checkpoint / _STATE).read_text())
        version = state["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(checkpoint, f"its {_STATE} cannot be read") from error
    if version != FORMAT:
        raise CheckpointError(
            f"{checkpoint.name} is of format {version} and this version reads format {FORMAT}: {_ELSEWHERE}"
        )
    if state.pop("sha256", None) != _state_hash(state):
        raise DamagedCheckpoint(checkpoint, f"its {_STATE} is not the one that was written")
    if checkpoint_path(checkpoint.parent, state["counters"]["step"]).name != checkpoint.name:
        raise DamagedCheckpoint(
            checkpoint, f"it is of step {state['counters']['step']}, whatever its name says"
        )
    _compare_files(checkpoint, state["files"])
    return state


def stored_facts(output_dir: Path) -> Mapping[str, Any]:
    """What the latest readable checkpoint says of its run, unchecked; empty without one."""
    for checkpoint in checkpoints(output_dir):
        with suppress(OSError, ValueError, KeyError, TypeError):
            facts: dict[str, Any] = json.loads((checkpoint / _STATE).read_text())["made_with"]
            return facts
    return {}


def _compare_files(checkpoint: Path, written: Mapping[str, str]) -> None:
    found = _hash_files(checkpoint)
    for name in sorted({*written, *found}):
        if name not in found:
            raise DamagedCheckpoint(checkpoint, f"{name} is missing")
        if name not in written:
            raise DamagedCheckpoint(checkpoint, f"{name} was added to it")
        if found[name] != written[name]:
            raise DamagedCheckpoint(checkpoint, f"{name} is not the file that was written")


def remove_checkpoint(checkpoint: Path) -> None:
    """Delete a checkpoint if it exists; it is renamed first, so that it is never seen half-deleted."""
    doomed = checkpoint.with_name(f".{checkpoint.name}-{secrets.token_hex(8)}")
    try:
        checkpoint.rename(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed, ignore_errors=True)


def keep_last_checkpoints(newest: Path, count: int, *, best: Path | None = None) -> None:
    """Keep a checkpoint, the `count` - 1 before it, and ``best``; delete those of earlier steps beside it."""
    ordered = checkpoints(newest.parent)
    for older in ordered[ordered.index(newest) + count :] if newest in ordered else []:
        if older != best:
            remove_checkpoint(older)


def _sweep(output_dir: Path) -> None:
    """Delete folders that killed processes left half-written or half-deleted."""
    for path in output_dir.glob(".checkpoint-*"):
        shutil.rmtree(path, ignore_errors=True)


def _save_weights(policy: Policy, tokenizer: Any, folder: Path) -> None:
    _save_parameters(policy, tokenizer, folder)
    note_thinking(trained_folder(folder), thinking=policy.thinking)
    for head, name in ((policy.head, HEAD_FILE), (policy.value_head, _VALUE_HEAD)):
        if head is not None:
            save_file({"weight": head.weight.detach().cpu()}, folder / name)


def _save_parameters(policy: Policy, tokenizer: Any, folder: Path) -> None:
    if not policy.adapted:
        policy.model.save_pretrained(folder / MODEL_FOLDER)
        tokenizer.save_pretrained(folder / MODEL_FOLDER)
        return
    from peft import get_peft_model_state_dict

    adapter = folder / ADAPTER_FOLDER
    adapter.mkdir(parents=True)
    state = get_peft_model_state_dict(policy.model, save_embedding_layers=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, adapter / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = copy(policy.model.peft_config["default"])
    config.inference_mode = True
    if isinstance(config.target_modules, set):  # a set's order differs between processes
        config.target_modules = sorted(config.target_modules)
    config.save_pretrained(adapter)
    if policy.in_4bit:
        note_four_bit(adapter, whole_layers(policy.model))


def load_weights(policy: Policy, checkpoint: Path) -> None:
    """Load the trained weights of a checkpoint, and the head of a reward model."""
    if policy.head is not None:
        _load_head(policy.head, checkpoint / HEAD_FILE)
    folder = trained_folder(checkpoint)
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


def _load_head(head: ScalarHead, file: Path) -> None:
    with torch.no_grad():
        head.weight.copy_(load_file(file)["weight"])


def _load_reference(checkpoint: Path, reference: ReferenceCache) -> None:
    """Fill the cache with the checkpoint's values; differing values mean another reference."""
    stored = load_file(checkpoint / _REFERENCE)["logps"]
    known = ~stored.isnan().any(dim=1)
    cached = ~reference.values.isnan().any(dim=1)
    changed = (known & cached & (stored != reference.values).any(dim=1)).nonzero().flatten().tolist()
    if changed:
        pair_index = changed[0]
        both = stored[pair_index], reference.values[pair_index]
        then, now = (", ".join(map(str, values.tolist())) for values in both)
        raise CheckpointError(
            f"{checkpoint.name} was made with other reference log-probabilities for {len(changed)} of "
            f"{len(stored)} pairs (pair {pair_index}: {then}; the cache has {now}): "
            f"clear the reference cache, and the checkpoint's own are used, or {_ELSEWHERE}"
        )
    pair_indices = known.nonzero().flatten().tolist()
    reference.put(pair_indices, stored[pair_indices, 0], stored[pair_indices, 1])


def _state_hash(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder except state.json."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != _STATE:
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _flush(folder: Path) -> None:
    """Flush the files and their directory entries before the rename makes them visible."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            _flush_entry(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _flush_entry(folder: Path) -> None:
    """Flush the directory entries of a folder, if its file system supports that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
