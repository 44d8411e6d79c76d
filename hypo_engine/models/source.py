"""Where the weights of a run's base model come from: a whole model, and adapters that are merged into it."""

from dataclasses import dataclass
from pathlib import Path

from hypo_engine.errors import ModelError
from hypo_engine.files.adapter import unstack
from hypo_engine.model_spec import parse_run_model
from hypo_engine.models.load import resolve_model


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A base model's files.

    Attributes:
        place: Folder or hub id of a whole model, whose configuration and tokenizer are used.
        adapters: Folders of LoRA adapters that are merged into its weights, in this order.
    """

    place: str
    adapters: tuple[Path, ...] = ()

    @property
    def trained_folder(self) -> Path:
        """The folder of the last weights: those of the last adapter, or of the model."""
        return self.adapters[-1] if self.adapters else Path(self.place)


def resolve_source(name: str, models_dir: Path, run_model: ModelSource | None = None) -> ModelSource:
    """Find the files of a base model.

    Args:
        name: ``demo``, a hub id, a folder with a whole model or with a LoRA adapter, or ``run:12``.
        models_dir: Where the demo model is unpacked.
        run_model: The files of the run that ``name`` refers to. Its ``place`` is a name of any kind but a
            run's.

    Raises:
        ModelError: the files show that the model cannot be used, or ``name`` is a run's and its files were
            not given.
    """
    try:
        of_run = parse_run_model(name)
    except ValueError as error:
        raise ModelError(f"The base model {error}.") from error
    if of_run is not None and run_model is None:
        raise ModelError(
            f"{name!r} is a run of HyPO Studio, whose files the engine alone does not find; export the run, "
            "and name the exported folder."
        )
    place, adapters = unstack(run_model.place if of_run and run_model else name)
    after = run_model.adapters if of_run and run_model else ()
    return ModelSource(resolve_model(place, models_dir), (*adapters, *after))
