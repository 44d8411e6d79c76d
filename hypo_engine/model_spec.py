"""The notation of a run as a base model: `run:12`, or `run:12@40` for a checkpoint. No torch here."""

import re
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "run:"
_RUN: Final = re.compile(r"run:([1-9][0-9]{0,9})(?:@([1-9][0-9]{0,9}))?")


@dataclass(frozen=True, slots=True)
class RunModel:
    """The model that a run trained.

    Attributes:
        run: Number of the run.
        step: Training step of the checkpoint; None is the last.
    """

    run: int
    step: int | None = None


def is_run_model(name: str) -> bool:
    """Whether a base model's name refers to a run."""
    return _RUN.fullmatch(name) is not None


def parse_run_model(name: str) -> RunModel | None:
    """The run that a base model's name refers to; None for every other name.

    Raises:
        ValueError: the name begins like a run's and is none; the text follows the field's name.
    """
    if found := _RUN.fullmatch(name):
        return RunModel(int(found[1]), int(found[2]) if found[2] else None)
    if name.startswith(PREFIX):
        raise ValueError(f"must be run:NUMBER or run:NUMBER@STEP to name a run's model, not {name[:80]}")
    return None
