"""Finished runs whose adapters are small random numbers: models for a worker to serve, without training."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from app import artifacts
from app.store import run_checkpoints, runs
from app.store.db import write_session
from app.store.enums import RunStatus
from app.store.models import Dataset
from benchmarks.ours import LORA_ALPHA, LORA_RANK
from hypo_engine.config import TrainConfig
from hypo_engine.models.adapters import attach_lora, quiet_peft
from hypo_engine.models.load import load_model

STEP = 1


def add_runs(model: Path, count: int) -> list[int]:
    """Add runs of a base model to the settings' home; their adapters differ, and none is zero."""
    ids = _add_rows(model, count)
    with quiet_peft(), TemporaryDirectory(prefix="hypo-bench-") as folder:
        bare = load_model(str(model), dtype=torch.float32, device=torch.device("cpu"))
        adapted = attach_lora(
            bare,
            rank=LORA_RANK,
            alpha=LORA_ALPHA,
            target_modules="all-linear",
            seed=0,
            base_name=model.name,
        )
        for run_id in ids:
            _randomize(adapted, seed=run_id)
            adapter = Path(folder) / str(run_id)
            adapted.save_pretrained(adapter, save_embedding_layers=False)
            artifacts.save_folder(adapter, f"{checkpoint(run_id)}/{artifacts.ADAPTER_FOLDER}")
    return ids


def checkpoint(run_id: int) -> str:
    """The key of a run's checkpoint in the artifact store."""
    return f"runs/{run_id}/{STEP}"


def _add_rows(model: Path, count: int) -> list[int]:
    config = TrainConfig.model_validate({"method": "dpo", "model_name_or_path": str(model)})
    ids = []
    with write_session() as session:
        dataset = Dataset(name="none", version=1, sha256="0" * 64, rows=1, format="trl", source="benchmark")
        session.add(dataset)
        session.flush()
        for number in range(count):
            run = runs.create(
                session=session,
                name=f"Run {number}",
                config=config.model_dump(mode="json"),
                dataset_id=dataset.id,
            )
            run.status, run.step, run.total_steps = RunStatus.FINISHED, STEP, STEP
            run_checkpoints.add(run.id, session=session, step=STEP, path=checkpoint(run.id))
            ids.append(run.id)
    return ids


def _randomize(model: object, *, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):  # type: ignore[attr-defined]
            if "lora_" in name:
                weight.copy_(0.01 * torch.randn(weight.shape, generator=source))
