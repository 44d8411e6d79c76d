"""The runs of a launch: one for each method and each combination of swept values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app import sweeps
from app.errors import InvalidInput
from app.launch_methods import each_run, launch_problems, trains_reward_first
from app.sweeps import Sweep
from hypo_engine.config import Method, TrainConfig, applies
from hypo_engine.field_text import label


@dataclass(frozen=True, slots=True)
class Planned:
    """A run to queue, with the swept values that its method reads."""

    config: TrainConfig
    swept: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What distinguishes the run from the others of its launch: ``DPO``, ``HyPO · kl_coef 0.01``."""
        return " · ".join(filter(None, (self.config.method.label, sweeps.in_words(self.swept))))


def check_configs(methods: Sequence[Method], values: Mapping[str, Any]) -> list[TrainConfig]:
    """Validate raw values as the configurations of a launch's runs, in the order in which they are queued.

    Raises:
        InvalidInput: names every invalid field; `field` is the first of them.
    """
    fields = TrainConfig.model_fields
    if found := launch_problems(methods, values):
        titles = [label(name, fields[name]) if name in fields else name for name in found]
        said = [f"{title} {problem}." for title, problem in zip(titles, found.values(), strict=True)]
        raise InvalidInput(" ".join(said), field=next(iter(found)))
    return [TrainConfig.model_validate(run) for run in each_run(methods, values)]


def plan(
    methods: Sequence[Method],
    values: Mapping[str, Any],
    sweep: Sweep | None = None,
    *,
    trials: int | None = None,
) -> list[Planned]:
    """The runs of a launch, in the order in which they are queued.

    A run is planned once for each combination of the swept values that its method reads. A reward model that
    is trained first is trained once, without swept values.

    Args:
        sweep: several values for some options; they overrule `values`.
        trials: that many combinations, drawn at random with the launch's seed; None means all.

    Raises:
        InvalidInput: names every invalid field, and what is wrong with the sweep.
    """
    swept = sweeps.check(sweep or {})
    sweeps.refuse_unread(swept, methods)
    seed = values.get("seed", TrainConfig.model_fields["seed"].default)
    first = check_configs(methods, values)[0] if trains_reward_first(methods, values) else None
    runs: dict[tuple[Method, str], Planned] = {}
    for combination in sweeps.combinations(swept, trials=trials, seed=seed if isinstance(seed, int) else 0):
        for config in check_configs(methods, {**values, **combination}):
            own = {name: value for name, value in combination.items() if applies(name, config.method)}
            planned = Planned(config, own)
            if first is not None and config.method is Method.REWARD:
                planned = Planned(first)
            runs.setdefault((config.method, sweeps.in_words(planned.swept)), planned)
    sweeps.refuse_too_many(len(runs))
    return list(runs.values())
