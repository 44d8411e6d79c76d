"""The plan, written down before it ran: hypotheses, settings, and the order of the runs."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hypo_engine.config import TrainConfig, parse_config
from study.pool import PoolSize
from study.regimes import Regime

Values = Mapping[str, Any]
"""Values of a TrainConfig."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A method with its options. Settings of a family share a line of argument: `DPO`, `HyPO`, ...

    Attributes:
        seeds: how many of the plan's seeds it runs with.
        regimes: the regimes in which it runs.
    """

    name: str
    family: str
    values: Values
    seeds: int = 1
    regimes: Sequence[Regime] = tuple(Regime)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of the plan."""

    setting: Setting
    regime: Regime
    seed: int

    @property
    def name(self) -> str:
        """The name of the run, and of its file."""
        return f"{self.regime}-{self.setting.name}-seed{self.seed}"


_DPO_RATE, _RLOO_RATE, _PPO_RATE, _REWARD_RATE = 5e-4, 3e-4, 3e-4, 3e-4
"""Learning rates, chosen on seed 1 and held for all; docs/study.md has the trials."""

PROXY: Final = Setting("proxy", "Reward model", {"method": "reward", "learning_rate": _REWARD_RATE})
"""The reward model of a regime: RLOO and PPO maximise it, and it scores every method's samples."""


def _dpo(beta: float, seeds: int) -> Setting:
    values = {"method": "dpo", "beta": beta, "learning_rate": _DPO_RATE}
    return Setting(f"dpo-{beta:g}", "DPO", values, seeds)


def _hypo(kl_coef: float, seeds: int) -> Setting:
    values = {"method": "hypo", "beta": 0.05, "kl_coef": kl_coef, "learning_rate": _DPO_RATE}
    return Setting(f"hypo-{kl_coef:g}", "HyPO", values, seeds)


_IPO: Final = {"method": "dpo", "loss_type": "ipo", "beta": 0.1, "learning_rate": _DPO_RATE}
_ONLINE: Final = {"beta": 0.05, "num_generations": 2, "normalize_reward": True}
_RLOO: Final = {"method": "rloo", "learning_rate": _RLOO_RATE, **_ONLINE}
_PPO: Final = {"method": "ppo", "learning_rate": _PPO_RATE, "num_ppo_epochs": 2, **_ONLINE}

SETTINGS: Final = (
    _dpo(0.05, seeds=3),
    _hypo(1e-3, seeds=3),
    _dpo(0.2, seeds=2),
    _hypo(3e-4, seeds=2),
    _dpo(0.5, seeds=2),
    _hypo(3e-3, seeds=2),
    Setting("ipo-0.1", "IPO", _IPO, seeds=1),
    Setting("rloo-0.05", "RLOO", _RLOO, seeds=2),
    Setting("ppo-0.05", "PPO", _PPO, seeds=1, regimes=(Regime.FULL,)),
)
"""In the order of the runs of a seed. DPO and HyPO have equally many settings and seeds."""


def agree(stored: Mapping[str, Any], wanted: Mapping[str, Any], *, beside: Sequence[str]) -> bool:
    """Whether two configurations are the same, but for some fields.

    A field that the version which stored one did not know had its default.
    """
    known = TrainConfig().model_dump(mode="json") | dict(stored)
    return all(known.get(name) == value for name, value in wanted.items() if name not in beside)


@dataclass(frozen=True)
class Plan:
    """Everything that determines the study's numbers, up to rounding.

    Attributes:
        prompts, held_out: how many prompts there are, and how many of them are held out.
        pool: answers that the reference samples for each prompt.
        pairs: training pairs of each regime.
        common: values of every run's configuration.
    """

    prompts: int = 500
    held_out: int = 100
    pool: int = 8
    pairs: int = 160
    seeds: Sequence[int] = (1, 2, 3)
    settings: Sequence[Setting] = SETTINGS
    regimes: Sequence[Regime] = tuple(Regime)
    proxy: Setting = PROXY
    common: Values = field(
        default_factory=lambda: {
            "model_name_or_path": "demo",
            "max_steps": 40,
            "per_device_train_batch_size": 4,
            "lora_r": 16,
            "lr_scheduler_type": "constant",
            "warmup_ratio": 0.1,
            "max_prompt_length": 96,
            "max_completion_length": 32,
            "eval_steps": 10,
            "eval_prompts": 32,
            "eval_pairs": 16,
            "probe_prompts": 0,
            "logging_steps": 5,
        }
    )

    @property
    def pool_size(self) -> PoolSize:
        """The pool. Its answers are shorter than a run's, so that each fits with its end token."""
        tokens = int(self.common["max_completion_length"]) - 2
        return PoolSize(self.prompts, self.held_out, self.pool, tokens)

    def runs(self) -> Iterator[PlannedRun]:
        """Every run, in an order in which a beginning is useful: the proxies, then seed by seed."""
        for regime in self.regimes:
            yield PlannedRun(self.proxy, regime, self.seeds[0])
        for place, seed in enumerate(self.seeds):
            for setting in self.settings:
                for regime in self.regimes:
                    if place < setting.seeds and regime in setting.regimes:
                        yield PlannedRun(setting, regime, seed)

    def config(self, run: PlannedRun) -> dict[str, Any]:
        """The values of a run's configuration, without its reward."""
        return {**self.common, **run.setting.values, "seed": run.seed}

    def has(self, run: PlannedRun, config: Mapping[str, Any]) -> bool:
        """Whether a run with this configuration is the planned one, and not that of an earlier plan."""
        values = {**self.config(run), "reward": config.get("reward", "")}  # RLOO and PPO need one
        wanted = parse_config(values).model_dump(mode="json")
        # written otherwise in each store
        return agree(config, wanted, beside=("model_name_or_path", "reward"))

    def digest(self, run: PlannedRun, pairs_sha: str) -> str:
        """Changes whenever a run would be another one."""
        told = json.dumps([self.config(run), pairs_sha], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def rates(tried: Sequence[float]) -> Plan:
    """Trials of learning rates, on the first seed: one setting of each method at each rate."""
    settings = [
        replace(one, name=f"{one.name}-{rate:g}", values={**one.values, "learning_rate": rate}, seeds=1)
        for one in SETTINGS
        if one.name in ("dpo-0.05", "hypo-0.001", "rloo-0.05")
        for rate in tried
    ]
    return Plan(seeds=(1,), settings=settings, regimes=(Regime.FULL,))


def quick(model: str) -> Plan:
    """The whole pipeline in little: two steps of two methods on few prompts."""
    return Plan(
        prompts=18,
        held_out=6,
        pool=4,
        pairs=8,
        seeds=(1,),
        settings=[one for one in SETTINGS if one.name in ("dpo-0.05", "hypo-0.001")],
        regimes=(Regime.OFF_POLICY,),
        common={
            **Plan().common,
            "model_name_or_path": model,
            "max_steps": 2,
            "per_device_train_batch_size": 4,
            "lora_r": 4,
            "max_completion_length": 32 if model == "demo" else 96,  # a small vocabulary needs more tokens
            "eval_steps": 1,
            "eval_prompts": 6,
            "eval_pairs": 4,
            "probe_prompts": 1,
            "logging_steps": 1,
        },
    )
