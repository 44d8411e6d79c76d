"""``python -m benchmarks.curves``: bfloat16 against float32 over whole runs, beside how much seeds differ.

DPO and HyPO are trained on the pairs of a JSONL file, with each seed in each precision. A point is the mean
over the seeds of a held-out metric at an evaluation. What counts is how far bfloat16's point lies from
float32's, beside the range of float32's seeds there.

With ``--json FILE`` finished runs are kept in a file, and a second call trains only those that it lacks.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.tables import table
from hypo_engine.config import Method, Precision, TrainConfig
from hypo_engine.data.formats import Kept, Pair, prompt_fraction, read_jsonl_pairs
from hypo_engine.reporting import SilentReporter
from hypo_engine.training.loop import train

METRICS: Final = ("eval_loss", "eval_rewards/margins", "eval_rewards/accuracies", "eval_objective/kl")
METHODS: Final = (Method.DPO, Method.HYPO)
PRECISIONS: Final = (Precision.FLOAT32, Precision.BFLOAT16)
HELD_OUT: Final = 0.2

Curve = dict[tuple[int, str], float]
"""Values by step and metric."""


class _Points(SilentReporter):
    """Keeps the held-out metrics of a run."""

    def __init__(self) -> None:
        self.curve: Curve = {}

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.curve |= {(step, name): values[name] for name in METRICS if name in values}


@dataclass(frozen=True)
class Point:
    """A metric of a method at a step: float32's lowest, mean and highest value, and bfloat16's mean."""

    method: Method
    step: int
    metric: str
    low: float
    mean: float
    high: float
    half: float

    @property
    def inside(self) -> bool:
        """Whether bfloat16 lies no farther from float32 than float32's seeds lie apart."""
        return abs(self.half - self.mean) <= self.high - self.low


def run(
    method: Method,
    precision: Precision,
    seed: int,
    *,
    model: str,
    pairs: Sequence[Pair],
    steps: int,
    models_dir: Path,
) -> Curve:
    """The held-out metrics of one run."""
    config = TrainConfig(
        model_name_or_path=model,
        method=method,
        precision=precision,
        seed=seed,
        max_steps=steps,
        per_device_train_batch_size=4,
        max_prompt_length=128,
        max_completion_length=64,
        learning_rate=1e-4,
        eval_steps=max(1, steps // 4),
        eval_pairs=32,
        eval_prompts=16,
        probe_prompts=0,
    )
    held_out = [pair for pair in pairs if prompt_fraction(pair.prompt) < HELD_OUT]
    points = _Points()
    with TemporaryDirectory() as folder:
        train(
            config,
            [pair for pair in pairs if prompt_fraction(pair.prompt) >= HELD_OUT],
            eval_pairs=held_out,
            eval_prompts=[pair.prompt for pair in held_out],
            output_dir=Path(folder) / "run",
            models_dir=models_dir,
            reporter=points,
        )
    return points.curve


def compare(method: Method, exact: Sequence[Curve], half: Sequence[Curve]) -> list[Point]:
    """The points after step 0, at which policy and reference are equal."""
    found = []
    for step, metric in sorted(exact[0]):
        if step:
            values = [curve[step, metric] for curve in exact]
            mean = fmean(curve[step, metric] for curve in half)
            found.append(Point(method, step, metric, min(values), fmean(values), max(values), mean))
    return found


class Finished:
    """The curves of finished runs, kept in a file of JSON lines if there is one."""

    def __init__(self, file: Path | None, **settings: object) -> None:
        """``settings``: what the runs have in common; those of other settings are ignored."""
        self._file, self._settings, self._found = file, settings, dict[tuple[object, ...], Curve]()
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                one = json.loads(line)
                if one["settings"] == settings:
                    values = {(step, metric): value for step, metric, value in one["curve"]}
                    self._found[tuple(one["run"])] = values

    def of(self, *key: Method | Precision | int) -> Curve | None:
        """The curve of a run; None if it has not finished."""
        return self._found.get(key)

    def add(self, *key: Method | Precision | int, curve: Curve) -> None:
        """Keep the curve of a run."""
        self._found[key] = curve
        if self._file is not None:
            values = [[step, metric, value] for (step, metric), value in curve.items()]
            line = {"settings": self._settings, "run": key, "curve": values}
            with self._file.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(line)}\n")


def report(points: Sequence[Point]) -> str:
    """The points as a table, with how many lie within the spread of seeds."""
    rows = [
        (
            point.method.label,
            point.metric,
            str(point.step),
            f"{point.mean:.3f}",
            f"{point.low:.3f} to {point.high:.3f}",
            f"{point.half:.3f}",
            "yes" if point.inside else "no",
        )
        for point in points
    ]
    heads = ("method", "metric", "step", "float32", "its seeds", "bfloat16", "within their spread")
    inside = sum(point.inside for point in points)
    return (
        f"{table(heads, rows)}\n\n{inside} of {len(points)} points lie within the spread of float32's seeds."
    )


def main(arguments: Sequence[str]) -> int:
    """Train all runs, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("--pairs", type=Path, default=Path("app/demo/pairs.jsonl"), help="JSONL of pairs")
    parser.add_argument("--model", default="demo", help="demo, or a folder")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="keep finished runs in this file, and use those in it")
    given = parser.parse_args(arguments)
    finished = Finished(given.json, pairs=str(given.pairs), model=given.model, steps=given.steps)
    pairs = [row.pair for row in read_jsonl_pairs(given.pairs) if isinstance(row, Kept)]
    points = list[Point]()
    with TemporaryDirectory() as models:
        one = partial(run, model=given.model, pairs=pairs, steps=given.steps, models_dir=Path(models))
        for method in METHODS:
            curves: dict[Precision, list[Curve]] = {precision: [] for precision in PRECISIONS}
            for seed, precision in product(range(given.seeds), PRECISIONS):
                curve = finished.of(method, precision, seed)
                if curve is None:
                    curve = one(method, precision, seed)
                    finished.add(method, precision, seed, curve=curve)
                    print(f"{method.label}, seed {seed}, {precision}: done", file=sys.stderr, flush=True)
                curves[precision].append(curve)
            points += compare(method, *curves.values())
    print(report(points))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
