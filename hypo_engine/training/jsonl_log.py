"""``metrics.jsonl`` and ``samples.jsonl``: a run's reports in files that a resumed run continues.

A checkpoint is the state after a step's training and before its evaluation, if any. A run that resumes
from step s therefore repeats the reports of later steps and of the evaluation at s. Their lines are
removed first, so the final files equal those of an uninterrupted run, except for the times.
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
    """A reporter that writes metrics and samples to two files, and passes everything to another reporter.

    Args:
        folder: Folder of the files; created with the first line.
        wish: Returns the current wish.
    """

    def __init__(self, told: Reporter, folder: Path, wish: Callable[[], Wish]) -> None:
        self._told, self._folder, self._wish = told, folder, wish
        self._begun = False

    def progress(self, step: int, total_steps: int, phase: str) -> None:
        if total_steps > 0:  # during preparation the step to resume from is not known yet
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
        """Once, remove an earlier attempt's reports after the step that this one resumes from."""
        if not self._begun:
            for name in (METRICS, SAMPLES):
                _cut(self._folder / name, step)
        self._begun = True

    def _write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / name).open("a", encoding="ascii") as file:
            file.write("".join(f"{json.dumps(row)}\n" for row in rows))


def _cut(path: Path, step: int) -> None:
    """Truncate a file at the first line that is incomplete or was reported after a step's checkpoint."""
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
    """Whether a line belongs to an evaluation; before the first step all lines do."""
    if row["step"] == 0:
        return True
    return row.get("kind", "online") != "online" or any(name.startswith("eval_") for name in row)
