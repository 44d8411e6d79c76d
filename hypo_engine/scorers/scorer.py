"""The interface of a scorer, and how one is found by its notation."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch

from hypo_engine.errors import ConfigError, EngineError
from hypo_engine.reporting import Prompt
from hypo_engine.reward_spec import parse_reward, plugins
from hypo_engine.scorers.reward_model import load_reward_model
from hypo_engine.scorers.rules import Length, Pattern, Sentiment


class Scorer(Protocol):
    """Scores answers. It may have ``std``, the standard deviation of the reference's own answers' scores."""

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
        """A finite number for each answer; larger is better."""


def load_scorer(spec: str, *, device: torch.device, run_folder: Path | None = None) -> Scorer:
    """The scorer of a notation; see :func:`hypo_engine.reward_spec.parse_reward`.

    Args:
        run_folder: The reward model of the run that ``run:12`` names.

    Raises:
        ConfigError: the notation is invalid, or what it needs is not installed.
        ModelError: the reward model cannot be used.
    """
    try:
        found = parse_reward(spec)
    except ValueError as error:
        raise ConfigError(f"reward {error}.") from error
    if found.run is not None:
        if run_folder is None:
            raise ConfigError(
                f"reward {spec} names a run of the app; without the app give the folder of its export."
            )
        return load_reward_model(str(run_folder), device=device)
    if found.model:
        return load_reward_model(found.model, device=device)
    if found.scorer == "length":
        return Length(float(found.argument or 1))
    if found.scorer == "regex":
        return Pattern(found.argument)
    if found.scorer == "vader":
        return Sentiment()
    return _plugin(found.scorer, found.argument)


def _plugin(name: str, argument: str) -> Scorer:
    try:
        scorer: Scorer = plugins()[name].load()(argument)
    except EngineError:
        raise
    except Exception as error:  # code of another package
        raise ConfigError(f"The scorer {name} could not be started: {error}.") from error
    return scorer


def checked_scores(scorer: Scorer, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
    """Score answers and check the result.

    Raises:
        EngineError: a number is missing or not finite, or the scorer fails.
    """
    name = type(scorer).__name__
    try:
        scores = [float(score) for score in scorer.score(prompts, answers)]
    except (EngineError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # may be code of another package
        raise EngineError(f"The scorer {name} failed ({error}); correct it, then resume the run.") from error
    bad = [answer for answer, score in zip(answers, scores, strict=False) if not math.isfinite(score)]
    if bad or len(scores) != len(answers):
        what = f"no finite number for the answer {bad[0][:60]!r}" if bad else "another number of scores"
        raise EngineError(f"The scorer {name} returned {what}; correct it, then resume the run.")
    return scores


def std_of(scorer: Scorer) -> float:
    """The standard deviation of the scores of the reference's own answers; 1 if unknown."""
    std = float(getattr(scorer, "std", 1.0))
    return std if math.isfinite(std) and std > 0 else 1.0
