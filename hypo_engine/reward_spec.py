"""The notation of a reward: a scorer with an argument, a run, or a reward model's place. No torch here."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final

ENTRY_POINTS: Final = "hypo_engine.scorers"
"""Group of entry points; each is a function of the argument that returns a scorer."""

BUILT_IN: Final = ("length", "regex", "vader")

_RUN: Final = re.compile(r"run:([1-9][0-9]{0,9})")
_NAME: Final = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?::(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """A parsed reward; exactly one of scorer, run and model is set.

    Attributes:
        scorer: Name of a scorer.
        argument: The text after the scorer's name.
        run: Number of a run that trained a reward model.
        model: Folder or hub id of a reward model.
    """

    scorer: str = ""
    argument: str = ""
    run: int | None = None
    model: str = ""


def parse_reward(text: str) -> RewardSpec:
    """Parse ``length``, ``regex:PATTERN``, ``vader``, ``run:12``, a folder, or a hub id.

    Raises:
        ValueError: a phrase that follows the field's name.
    """
    if found := _RUN.fullmatch(text):
        return RewardSpec(run=int(found[1]))
    named = _NAME.fullmatch(text)
    if named and named[1] in {*BUILT_IN, *plugins()}:
        _check_argument(named[1], named[2] or "")
        return RewardSpec(scorer=named[1], argument=named[2] or "")
    if text.startswith(("/", "./", "../", "~")) or re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        return RewardSpec(model=text)
    raise ValueError(
        f"must be {scorers()}, run:NUMBER, or a reward model's folder (/path) or hub id (owner/name), "
        f"not {text[:80]}"
    )


def scorers() -> str:
    """The notations of all scorers, for a sentence."""
    return ", ".join(("length", "regex:PATTERN", "vader", *plugins()))


def plugins() -> dict[str, EntryPoint]:
    """The scorers of other packages by name; a built-in name cannot be replaced."""
    found: Iterator[EntryPoint] = iter(entry_points(group=ENTRY_POINTS))
    return {point.name: point for point in found if point.name not in (*BUILT_IN, "run")}


def _check_argument(name: str, argument: str) -> None:
    if name == "regex":
        try:
            empty = not re.compile(argument).pattern
        except re.error as error:
            raise ValueError(f"has no valid pattern after regex: ({error}); try it in Python's re") from error
        if empty:
            raise ValueError("has no pattern; write regex:PATTERN")
    elif name == "length" and argument:
        try:
            float(argument)
        except ValueError:
            raise ValueError(
                f"needs a number after length:, the weight of a word, not {argument[:80]}"
            ) from None
    elif name == "vader" and argument:
        raise ValueError("takes nothing after vader")
