"""What the engine does for one attempt at a run, in as many processes as the run asks for."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from app.settings import get_settings
from app.store import datasets
from app.store.enums import Split
from hypo_engine.config import TrainConfig, parse_config
from hypo_engine.data.pair_texts import PairTexts
from hypo_engine.distributed.devices import other_processes
from hypo_engine.models.source import ModelSource
from hypo_engine.reporting import Reporter
from hypo_engine.training.loop import train
from worker.run_models import Read

RANK_COMMAND: Final = ("-m", "worker.rank")
"""The command of a run's other processes; the path of the described job follows."""


@dataclass(frozen=True, slots=True)
class EngineJob:
    """The arguments of the engine that all processes of a run share.

    Attributes:
        output: The folder of the checkpoints.
        reward_folder, run_model: Files of other runs, as :func:`hypo_engine.training.loop.train` takes them.
    """

    config: TrainConfig
    dataset_id: int
    output: Path
    reward_folder: Path | None
    run_model: ModelSource | None

    def run(self, reporter: Reporter, read: Read) -> None:
        """Train, as one of the processes of the run.

        Raises:
            EngineError, Interrupted: as :func:`hypo_engine.training.loop.train`.
        """
        settings = get_settings()
        pairs, held_out = (self._pairs(split, read) for split in (Split.TRAIN, Split.HELD_OUT))
        train(
            self.config,
            pairs,
            eval_pairs=held_out,
            eval_prompts=list({str(pair.prompt): pair.prompt for pair in held_out}.values()),
            output_dir=self.output,
            reporter=reporter,
            models_dir=settings.models_dir,
            cache_dir=settings.cache_dir,
            reward_folder=self.reward_folder,
            run_model=self.run_model,
        )

    def with_other_processes(self, folder: Path, watch: Callable[[], None]) -> AbstractContextManager[None]:
        """A scope in which the run's other processes run this job too, if it asks for more than one.

        Args:
            folder: A new folder for what they need.
            watch: Called while they start; what it raises ends them.
        """
        if self.config.devices == 1:
            return nullcontext()
        folder.mkdir(parents=True)
        described = folder / "job.json"
        described.write_text(json.dumps(self._described()), encoding="utf-8")
        command = [sys.executable, *RANK_COMMAND, str(described)]
        return other_processes(command, devices=self.config.devices, folder=folder, watch=watch)

    def _described(self) -> dict[str, Any]:
        model = self.run_model
        return {
            "config": self.config.model_dump(mode="json"),
            "dataset_id": self.dataset_id,
            "output": os.fspath(self.output),
            "reward_folder": self.reward_folder and os.fspath(self.reward_folder),
            "run_model": model and [model.place, *map(os.fspath, model.adapters)],
        }

    @classmethod
    def described_by(cls, path: Path) -> "EngineJob":
        """The job that another process of the run described."""
        found = json.loads(path.read_text(encoding="utf-8"))
        place, *adapters = found["run_model"] or [None]
        return cls(
            config=parse_config(found["config"]),
            dataset_id=found["dataset_id"],
            output=Path(found["output"]),
            reward_folder=found["reward_folder"] and Path(found["reward_folder"]),
            run_model=place and ModelSource(place, tuple(map(Path, adapters))),
        )

    def _pairs(self, split: Split, read: Read) -> PairTexts:
        def all_pairs(session: Session) -> PairTexts:
            return PairTexts(datasets.iter_pairs(self.dataset_id, session=session, split=split))

        return read(all_pairs)
