"""Sweeps: several values for some options, and the combinations of them that are trained."""

import math
import random
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final

from app.errors import InvalidInput
from app.launch_methods import TRAIN_FIRST
from hypo_engine.assignments import parse_assignments
from hypo_engine.config import Method, TrainConfig, applies
from hypo_engine.errors import ConfigError

Sweep = Mapping[str, Sequence[Any]]
"""Raw values by option."""

MOST: Final = 32
"""The largest number of runs in one launch."""

_FIXED: Final = ("method", "insist")
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE: Final = re.compile(rf"({_NUMBER})\.\.({_NUMBER}):(\d{{1,4}})")
_LEAST: Final = 1e-100
_EXAMPLE: Final = "beta=0.03,0.1 or learning_rate=1e-5..1e-3:3"


def read_sweep(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Parse ``["beta=0.03,0.1", "learning_rate=1e-5..1e-3:3"]``.

    LOW..HIGH:COUNT are values at equal ratios, or at equal distances if LOW is not above zero or if whole
    numbers would coincide.

    Raises:
        InvalidInput: names the option, and what to write.
    """
    sweep: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise _wrong(f"sweep: {text[:80]!r} is not of the form NAME=VALUES; write {_EXAMPLE}.")
        if name in sweep:
            raise _wrong(f"sweep: {name[:80]} is there twice; give all its values at once.")
        ranged = _RANGE.fullmatch(values)
        sweep[name] = _spaced(name, ranged) if ranged else _listed(name, values)
    return check(sweep)


def refuse_unread(sweep: Sweep, methods: Sequence[Method]) -> None:
    """Refuse a sweep over an option that no method of the launch reads.

    Raises:
        InvalidInput: names the option.
    """
    for name in sweep:
        if not any(applies(name, method) for method in methods):
            said = " or ".join(method.label for method in methods)
            raise _wrong(f"sweep: {name} is not read by {said}; leave it out, or choose another method.")


def check(sweep: Sweep) -> dict[str, list[Any]]:
    """The sweep without repeated values.

    Raises:
        InvalidInput: for an option that does not exist or cannot be swept, and for one without values.
    """
    for name, values in sweep.items():
        if name not in TrainConfig.model_fields:
            raise _wrong(f"sweep: there is no setting named {name[:80]}.")
        if name in _FIXED:
            raise _wrong(f"sweep: {name} cannot be swept; choose it for all runs.")
        if not values:
            raise _wrong(f"sweep: {name} has no values; write {_EXAMPLE}.")
        if not all(isinstance(value, str | int | float) for value in values):
            raise _wrong(f"sweep: {name} has a value that is neither a number nor a text; write {_EXAMPLE}.")
        if name == "reward" and TRAIN_FIRST in values:
            raise _wrong(
                f"sweep: reward can be {TRAIN_FIRST} for all runs only; give it outside of the sweep."
            )
    return {
        name: [value for at, value in enumerate(values) if value not in values[:at]]
        for name, values in sweep.items()
    }


def combinations(sweep: Sweep, *, trials: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """All combinations of the values, or as many as `trials` of them drawn at random, in the grid's order.

    Without a sweep there is one, of no values.
    """
    size = math.prod(map(len, sweep.values()))
    if trials is not None and trials < size:
        chosen = sorted(random.Random(seed).sample(range(size), trials))
        return [_combination(sweep, number) for number in chosen]
    if size > MOST:
        raise _wrong(
            f"sweep: {size:,} combinations are too many, at most {MOST} are trained; give fewer values, or a "
            "number of them to draw at random."
        )
    return [dict(zip(sweep, values, strict=True)) for values in product(*sweep.values())]


def refuse_too_many(runs: int) -> None:
    """Refuse a launch of more than MOST runs.

    Raises:
        InvalidInput: says how many there are.
    """
    if runs > MOST:
        raise _wrong(
            f"sweep: {runs} runs are too many, at most {MOST} are trained; give fewer values or methods."
        )


def in_words(values: Mapping[str, Any]) -> str:
    """A combination as runs are named: ``beta 0.03, kl_coef 0.001``."""
    return ", ".join(f"{name} {short(value)}" for name, value in values.items())


def written(sweep: Sweep) -> list[str]:
    """A sweep as `read_sweep` reads it."""
    return [f"{name}={','.join(map(short, values))}" for name, values in sweep.items()]


def short(value: Any) -> str:
    """A value as `read_sweep` reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    return brief if float(brief := f"{value:g}") == value else repr(value)


def _combination(sweep: Sweep, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in reversed(list(sweep)):
        number, place = divmod(number, len(sweep[name]))
        found[name] = sweep[name][place]
    return {name: found[name] for name in sweep}


def _listed(name: str, text: str) -> list[Any]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise _wrong(f"sweep: {name[:80]} has an empty value; write {_EXAMPLE}.")
    try:
        return [parse_assignments([f"{name}={part}"])[name] for part in parts]
    except ConfigError as error:
        raise _wrong(f"sweep: {error}") from error


def _spaced(name: str, found: re.Match[str]) -> list[Any]:
    low, high, count = float(found[1]), float(found[2]), int(found[3])
    if count < 2 or low >= high or not math.isfinite(high - low) or 0 < low < _LEAST:
        raise _wrong(
            f"sweep: {name[:80]}: a range needs LOW below HIGH and 2 or more values; write {_EXAMPLE}."
        )
    if count > MOST:
        raise _wrong(f"sweep: {name[:80]}: {count} values are too many, at most {MOST} are trained.")
    steps = [at / (count - 1) for at in range(count)]
    even = [low + (high - low) * at for at in steps]
    values = [low * (high / low) ** at for at in steps] if low > 0 else even
    if not _is_whole(name):
        return [float(f"{value:.4g}") for value in values]
    whole = list(map(round, values))
    return whole if len(set(whole)) == count else list(map(round, even))


def _is_whole(name: str) -> bool:
    return name in TrainConfig.model_fields and TrainConfig.model_fields[name].annotation is int


def _wrong(said: str) -> InvalidInput:
    return InvalidInput(said, field="sweep")
