"""From the files of runs to the arrays that are compared."""

from collections.abc import Iterable, Sequence

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
    first = runs[0]
    steps = [step["step"] for step in first["steps"]]
    return Curve(first["setting"], first["family"], steps, array(runs, "gold"), array(runs, "kl"))


def paired(results: Iterable[Result], regime: str, families: Sequence[str]) -> dict[str, list[Curve]]:
    """The curves of some families in a regime, over the seeds that all of them have; may be empty."""
    found = [
        runs
        for (_, where), runs in grouped(results).items()
        if where == regime and runs[0]["family"] in families
    ]
    if {runs[0]["family"] for runs in found} != set(families):
        return {}
    shared = set.intersection(*({run["seed"] for run in runs} for runs in found))
    if not shared:
        return {}
    curves: dict[str, list[Curve]] = {family: [] for family in families}
    for runs in found:
        made = curve([run for run in runs if run["seed"] in shared])
        curves[made.family].append(made)
    return curves
