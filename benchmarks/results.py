"""Results in the form that is stored as JSON, and their summaries."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.jobs import Job

Record = dict[str, Any]


@dataclass
class Results:
    """All results of one or several runs of the benchmark. Each record contains its job.

    Attributes:
        commands: The commands that repeat the runs.
        machine: Descriptions by name: cores, instruction sets, versions.
        models: Each model's config.json, by the model's name in the records.
        rates: The machine's rates, one record per measurement.
        steps: One record per contender and configuration, with its ``runs`` in the order of the rounds.
        reward: The same for reward models; ``rloo`` for RLOO.
    """

    commands: list[str]
    machine: dict[str, str]
    quick: bool = False
    models: dict[str, Record] = field(default_factory=dict)
    agreement: list[Record] = field(default_factory=list)
    rates: list[Record] = field(default_factory=list)
    steps: list[Record] = field(default_factory=list)
    reward: list[Record] = field(default_factory=list)
    rloo: list[Record] = field(default_factory=list)
    decode: list[Record] = field(default_factory=list)
    draws: list[Record] = field(default_factory=list)
    accuracy: list[Record] = field(default_factory=list)
    growth: list[Record] = field(default_factory=list)
    memory: list[Record] = field(default_factory=list)
    parts: list[Record] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        return "accelerator" in self.machine

    def save(self, path: Path | None) -> None:
        """Write all results so far, atomically."""
        if path is None:
            return
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def load(cls, *paths: Path) -> "Results":
        """Read files written by :meth:`save` and merge them.

        Raises:
            ValueError: the files differ in machine, versions or ``--quick``.
        """
        first, *others = (cls(**json.loads(path.read_text(encoding="utf-8"))) for path in paths)
        for path, other in zip(paths[1:], others, strict=True):
            if (other.machine, other.quick) != (first.machine, first.quick):
                raise ValueError(
                    f"--read: {path.name} was not measured on the machine and with the versions of "
                    f"{paths[0].name}; read them one by one."
                )
            first.models |= other.models
            for part in fields(first):
                if isinstance(found := getattr(first, part.name), list):
                    found.extend(getattr(other, part.name))
        return first


def job_of(record: Record) -> Job:
    """The job of a record. Its model is a name in :attr:`Results.models`."""
    return Job(**record["job"])


def record_of(job: Job, name: str, **values: Any) -> Record:
    """A record with the model's name instead of its path."""
    kept = asdict(job) | {"model": name, "settings": None}
    return {"job": kept, **values}


@dataclass(frozen=True, slots=True)
class Summary:
    """A contender's runs in one configuration.

    Attributes:
        seconds: Median over rounds of the median over a run's steps.
        low: Seconds of the fastest step; ``high`` of the slowest.
        peak: Peak bytes, median over rounds; ``loaded`` is the memory before the first step.
        reference: One-time seconds of scoring the reference for a step's pairs.
    """

    seconds: float
    low: float
    high: float
    peak: float
    loaded: float
    reference: float
    phases: dict[str, float]


def summarise(runs: list[Record]) -> Summary | None:
    """Summarise runs; None if one of them ran out of memory."""
    if any("out_of_memory" in run for run in runs):
        return None
    steps = [seconds for run in runs for seconds in run["seconds"]]
    phases = [step for run in runs for step in run.get("phases", [])]
    names = {name for step in phases for name in step}
    return Summary(
        seconds=median(median(run["seconds"]) for run in runs),
        low=min(steps),
        high=max(steps),
        peak=median(run["peak"] for run in runs),
        loaded=median(run["loaded"] for run in runs),
        reference=median(run["reference_seconds"] for run in runs),
        phases={name: median(step.get(name, 0.0) for step in phases) for name in names},
    )
