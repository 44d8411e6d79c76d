"""What a launch trains: one method, or twins of several, and whether it trains their reward model first."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.errors import InvalidInput
from app.text import MAX_ID
from hypo_engine.config import Method, field_problems

MOST: Final = 5
"""The largest number of methods in one launch."""

TWINS: Final = "twins"
"""Short for the methods DPO and HyPO."""

DEFAULT: Final = (Method.DPO, Method.HYPO)

TRAIN_FIRST: Final = "train"
"""The reward of a launch that trains a reward model first; its runs then name that model's run."""

PENDING: Final = f"run:{MAX_ID}"
"""The reward in a configuration whose reward model has no run yet."""


def read_methods(given: object) -> list[Method]:
    """Read methods from `dpo`, `dpo,hypo,rloo`, a list of names, or `twins`.

    Raises:
        InvalidInput: for no method, an unknown one, one named twice, and more than MOST.
    """
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise InvalidInput(_choices(f", not {str(given)[:80]!r}."), field="method")
    names = [name.strip() for name in names]
    if names == [TWINS]:
        return list(DEFAULT)
    if not any(names):
        raise InvalidInput(_choices("; none was given."), field="method")
    for name in names:
        if name not in list(Method):
            raise InvalidInput(_choices(f", not {name[:80]!r}."), field="method")
        if names.count(name) > 1:
            raise InvalidInput(f"method names {name} more than once; name each method once.", field="method")
    if len(names) > MOST:
        raise InvalidInput(
            f"method names {len(names)} methods, and a launch trains at most {MOST}; launch some later.",
            field="method",
        )
    return [method for method in Method if method in names]


def _choices(given: str) -> str:
    known = ", ".join(Method)
    return f"method must be one of {known}, several of them as dpo,hypo,rloo, or {TWINS} (dpo,hypo){given}"


def written(methods: Sequence[Method]) -> str:
    """Methods as the command line, YAML and the API write them."""
    return ",".join(methods)


def trains_reward_first(methods: Sequence[Method], values: Mapping[str, Any]) -> bool:
    """Whether the launch trains the reward model of its other runs."""
    reward = values.get("reward")
    return isinstance(reward, str) and reward.strip() == TRAIN_FIRST and any(m.writes for m in methods)


def each_run(methods: Sequence[Method], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The raw configuration of each run, in the order in which they are queued."""
    first = trains_reward_first(methods, values)
    others = [method for method in methods if not (first and method is Method.REWARD)]
    chosen = [Method.REWARD, *others] if first else others
    runs = [{**values, "method": method.value} for method in chosen]
    for run in runs:
        if first or str(run.get("reward", "")).strip() == TRAIN_FIRST:
            run["reward"] = PENDING if Method(run["method"]).writes else ""
    return runs


def launch_problems(methods: Sequence[Method], values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with raw values for any of the methods, by field, phrased to follow the field's name."""
    found: dict[str, str] = {}
    for run in each_run(methods, values):
        found = {**field_problems(run), **found}
    if "reward" in found:
        found["reward"] += f"; or {TRAIN_FIRST}, to train a reward model first"
    return found
