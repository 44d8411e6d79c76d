"""From the files of runs to the arrays that are compared."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from study.compare import Array, Curve
from study.measure import Result


def policies(results: Iterable[Result]) -> list[Result]:
    """The results of runs that write answers, in a fixed order."""
    found = [one for one in results if one["steps"]]
    return sorted(found, key=lambda one: (one["setting"], one["regime"], one["seed"]))


def grouped(results: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """The runs of each setting in each regime, by seed."""
    found: dict[tuple[str, str], list[Result]] = {}
    for one in policies(results):
        found.setdefault((one["setting"], one["regime"]), []).append(one)
    return found


def array(runs: Sequence[Result], name: str) -> Array:
    """A value of every run, step and prompt: [seeds, steps, prompts]."""
    return np.array([[step[name] for step in run["steps"]] for run in runs], dtype=np.float64)


def curve(runs: Sequence[Result]) -> Curve:
    """The curve of a setting's runs in one regime."""
    first, seeds = runs[0], [run["seed"] for run in runs]
    steps = [step["step"] for step in first["steps"]]
    gold, kl = array(runs, "gold"), array(runs, "kl")
    return Curve(first["setting"], first["family"], seeds, steps, gold, kl)


def of_families(results: Iterable[Result], regime: str, families: Sequence[str]) -> dict[str, list[Curve]]:
    """The curves of some families in a regime; empty unless each family has one."""
    found: dict[str, list[Curve]] = {family: [] for family in families}
    for (_, where), runs in grouped(results).items():
        if where == regime and runs[0]["family"] in found:
            found[runs[0]["family"]].append(curve(runs))
    return found if all(found.values()) else {}


def seeds_of(curves: Iterable[Curve]) -> list[int]:
    """Every seed that one of the curves has, in order."""
    return sorted({seed for one in curves for seed in one.seeds})


def alone(curves: Iterable[Curve], seed: int) -> list[Curve]:
    """The curves that have a seed, of that seed alone."""
    return [
        replace(one, seeds=[seed], gold=one.gold[[at]], kl=one.kl[[at]])
        for one in curves
        for at, own in enumerate(one.seeds)
        if own == seed
    ]
