"""The report: every number of the study in one JSON file, and the page that shows it as an HTML file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.ui.study.document import document
from study.compare import Array, mean
from study.curves import array, grouped, policies
from study.measure import Result, read_result
from study.plan import Plan
from study.verdicts import judge

REPORT: Final = "report.json"
PAGE: Final = "report.html"
RUNS: Final = "runs"

_COLUMNS: Final = ("gold", "kl", "proxy", "win", "tokens", "end", "outside")
"""Values of each prompt that have a mean and an interval."""


def read_results(folder: Path) -> list[Result]:
    """The results of all finished runs in a folder."""
    found = [read_result(path) for path in sorted((folder / RUNS).glob("*.json"))]
    return [one for one in found if one is not None]


def write_report(folder: Path, plan: Plan, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the report from the files of the runs, and write it as JSON and as HTML; return it."""
    report = make_report(read_results(folder), plan, machine)
    text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")
    (folder / PAGE).write_text(str(document(report)), encoding="utf-8")
    return report


def make_report(results: Sequence[Result], plan: Plan, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the page shows, as JSON."""
    runs = {run.name: run for run in plan.runs()}
    done = [one for one in results if (run := runs.get(one["name"])) and plan.has(run, one["config"])]
    return {
        "done": len(done),
        "planned": len(runs),
        "machine": dict(machine),
        "plan": {
            "prompts": plan.prompts,
            "held_out": plan.held_out,
            "pool": plan.pool,
            "pairs": plan.pairs,
            "seeds": list(plan.seeds),
            "common": dict(plan.common),
        },
        "hypotheses": [one.told() for one in judge(done)],
        "rows": [_row(runs) for runs in grouped(done).values()],
        "proxies": [_proxy(one) for one in done if not one["steps"]],
        "samples": [_samples(one) for one in policies(done) if one["seed"] == plan.seeds[0]],
        "runs": [{"name": one["name"], "run": one["run"], "seed": one["seed"]} for one in done],
    }


def _row(runs: Sequence[Result]) -> dict[str, Any]:
    """A setting in a regime: its last step, all steps, and the cost of a run."""
    first = runs[0]
    values = {name: array(runs, name) for name in _COLUMNS if first["steps"][0][name]}
    return {
        "setting": first["setting"],
        "family": first["family"],
        "regime": first["regime"],
        "seeds": [run["seed"] for run in runs],
        "steps": [
            {"step": step["step"]}
            | {name: _estimate(found[:, at]) for name, found in values.items()}
            | {name: _mean_of(runs, at, name) for name in ("distinct2", "logps/chosen", "logps/rejected")}
            for at, step in enumerate(first["steps"])
        ],
        "seconds": _mean([run["seconds"] for run in runs]),
        "step_seconds": _mean([run["step_seconds"] for run in runs]),
        "processor_seconds": _mean([run["processor_seconds"] for run in runs]),
        "memory": max((run["memory"] for run in runs if run["memory"]), default=None),
    }


def _estimate(values: Array) -> list[float | None]:
    """The mean and its interval, from values of [seeds, prompts]."""
    found = mean(values.mean(axis=0))
    return [_number(one) for one in (found.value, found.low, found.high)]


def _mean_of(runs: Sequence[Result], at: int, name: str) -> float | None:
    return _mean([run["steps"][at].get(name) for run in runs])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _number(float(np.mean(known))) if known else None


def _number(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None


def _proxy(result: Result) -> dict[str, Any]:
    """A reward model: how often it ranks held-out pairs as their labels do, and its cost."""
    return {
        "regime": result["regime"],
        "accuracy": result["final"].get("eval_rewards/accuracies"),
        "seconds": result["seconds"],
        "processor_seconds": result["processor_seconds"],
        "memory": result["memory"],
    }


def _samples(result: Result) -> dict[str, Any]:
    return {key: result[key] for key in ("setting", "family", "regime", "samples")}
