"""Models kept in memory for answering: each base model once, with checkpoints trained from it."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sqlalchemy.orm import Session

from app import artifacts
from app.errors import Refused
from app.settings import get_settings
from app.store.contenders import REFERENCE
from app.store.models import Checkpoint, Contender
from hypo_engine.generate import Served, load_served
from worker.loading import LOADING
from worker.run_models import fetch_run_model

CHECKPOINTS_KEPT = 8
"""Checkpoints kept per base model; the least recently used one is dropped first."""


class ServedBase(NamedTuple):
    """A base model as it is loaded: its name, and whether its weights are held in 4 bits."""

    name: str
    in_4bit: bool


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model that writes an answer: a base model as it is, or a checkpoint trained from it."""

    base_model: str
    checkpoint_path: str | None
    in_4bit: bool = False

    @property
    def base(self) -> ServedBase:
        """What is loaded below it. Models on one base answer together."""
        return ServedBase(self.base_model, self.in_4bit)

    @property
    def adapter(self) -> str | None:
        """The name under which the checkpoint is served; None for the base."""
        return self.checkpoint_path

    @classmethod
    def of(cls, contender: Contender, *, session: Session) -> "ServedModel":
        """The model of a contender.

        Raises:
            Refused: its run or checkpoint was deleted.
        """
        if contender.checkpoint_id is None and contender.method == REFERENCE:
            return cls(contender.base_model, None, contender.in_4bit)
        checkpoint = session.get(Checkpoint, contender.checkpoint_id) if contender.checkpoint_id else None
        if checkpoint is None:
            raise Refused(f"{contender.name} was deleted; start a new conversation with runs that are there.")
        return cls(contender.base_model, checkpoint.path, contender.in_4bit)


class Serving:
    """The most recently used base models, loaded, with the checkpoints added to them."""

    def __init__(self) -> None:
        self._bases: OrderedDict[ServedBase, Served] = OrderedDict()
        self._used: dict[ServedBase, OrderedDict[str, None]] = {}
        self._answering: list[str | None] = []

    @contextmanager
    def in_use(self, models: Sequence[ServedModel]) -> Iterator[None]:
        """A scope in which the models' checkpoints are not dropped, while others may be loaded."""
        paths = {model.checkpoint_path for model in models}
        self._answering.extend(paths)
        try:
            yield
        finally:
            for path in paths:
                self._answering.remove(path)

    def load(
        self, models: Sequence[ServedModel], *, worker: str
    ) -> tuple[Served, dict[ServedModel, Exception]]:
        """Load the base model that some models share, and add every checkpoint that can be loaded.

        While anything is loaded, the worker's row says so.

        Returns:
            The base model, and for each model that failed to load the reason: its files are missing, or it
                does not fit.

        Raises:
            ModelError: the base model cannot be loaded.
        """
        if self._is_loaded(models):
            return self._load(models)
        with LOADING.of(models[0].base_model, worker=worker):
            return self._load(models)

    def _is_loaded(self, models: Sequence[ServedModel]) -> bool:
        served = self._bases.get(models[0].base)
        paths = {model.checkpoint_path for model in models} - {None}
        return served is not None and paths <= set(served.names)

    def _load(self, models: Sequence[ServedModel]) -> tuple[Served, dict[ServedModel, Exception]]:
        served = self._base(models[0].base)
        used = self._used[models[0].base]
        failed: dict[ServedModel, Exception] = {}
        for model in dict.fromkeys(models):
            if (path := model.checkpoint_path) is None:
                continue
            try:
                self._add(served, path)
            except Exception as error:  # one contender's failure does not affect the others
                failed[model] = error
                continue
            used[path] = None
            used.move_to_end(path)
        idle = [path for path in used if path not in self._answering]
        for path in idle[: max(0, len(used) - CHECKPOINTS_KEPT)]:
            served.remove_adapter(path)
            del used[path]
        return served, failed

    @staticmethod
    def _add(served: Served, path: str) -> None:
        if path not in served.names:
            with TemporaryDirectory(prefix="hypo-serving-") as scratch:
                served.add_adapter(path, artifacts.fetch_weights(path, Path(scratch) / "weights"))

    def _base(self, base: ServedBase) -> Served:
        settings = get_settings()
        if base not in self._bases:
            while len(self._bases) >= settings.keep_served_models:
                dropped, _ = self._bases.popitem(last=False)
                del self._used[dropped]
            with TemporaryDirectory(prefix="hypo-serving-") as scratch:
                run_model = fetch_run_model(base.name, Path(scratch))
                self._bases[base] = load_served(
                    base.name, settings.models_dir, run_model=run_model, in_4bit=base.in_4bit
                )
            self._used[base] = OrderedDict()
        self._bases.move_to_end(base)
        return self._bases[base]


SERVING = Serving()
"""The models of this process; answers and scorings share them."""
