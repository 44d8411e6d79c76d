"""``metrics.jsonl`` and ``samples.jsonl``: what a run reported, in files that a resumed run continues.

A checkpoint holds the run after a step's training and before the evaluation that may follow it. A run that
goes on from step s so reports again all that belongs to later steps and to the evaluation of s. Those lines
are cut first, and in the end the files are those of a run that was never stopped, but for the times.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hypo_engine.reporting import LogLevel, Reporter, Sample, Wish

METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"


class Record:
    """A reporter that keeps metrics and samples in two files and tells another reporter everything.

    Args:
        folder: Where the files are; made when the first line is written.
        wish: What is wished of the run.
    """

    def __init__(self, told: Reporter, folder: Path, wish: Callable[[], Wish]) -> None:
        self._told, self._folder, self._wish = told, folder, wish
        self._begun = False

    def progress(self, step: int, total_steps: int, phase: str) -> None:
        if total_steps > 0:  # while the run is put together nothing is known of its steps
            self._begin(step)
        self._told.progress(step, total_steps, phase)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._begin(0)
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._write(METRICS, [{"step": step, **finite}])
        self._told.metrics(step, values)

    def samples(self, rows: Sequence[Sample]) -> None:
        self._begin(0)
        self._write(SAMPLES, [asdict(row) for row in rows])
        self._told.samples(rows)

    def checkpoint(self, step: int, path: str) -> None:
        self._told.checkpoint(step, path)

    def log(self, level: LogLevel, message: str) -> None:
        self._told.log(level, message)

    def wish(self) -> Wish:
        return self._wish()

    def _begin(self, step: int) -> None:
        """Cut what an earlier attempt reported after the step that this one goes on from; once."""
        if not self._begun:
            for name in (METRICS, SAMPLES):
                _cut(self._folder / name, step)
        self._begun = True

    def _write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / name).open("a", encoding="ascii") as file:
            file.write("".join(f"{json.dumps(row)}\n" for row in rows))


def _cut(path: Path, step: int) -> None:
    """Cut a file at its first line that is torn or was reported after the checkpoint of a step."""
    if not path.exists():
        return
    kept = 0
    with path.open("r+b") as file:
        for line in file:
            if not line.endswith(b"\n") or _is_after(line, step):
                break
            kept += len(line)
        file.truncate(kept)


def _is_after(line: bytes, step: int) -> bool:
    try:
        row = json.loads(line)
        return bool(row["step"] > step or (row["step"] == step and _is_evaluation(row)))
    except (ValueError, KeyError, TypeError):
        return True


def _is_evaluation(row: Mapping[str, Any]) -> bool:
    """Whether a line is of an evaluation; before the first step everything is."""
    if row["step"] == 0:
        return True
    return row.get("kind", "online") != "online" or any(name.startswith("eval_") for name in row)
