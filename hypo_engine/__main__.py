"""``python -m hypo_engine config.yaml``: train from a file, without the rest of HyPO Studio.

The YAML holds the fields of TrainConfig and these keys: ``dataset`` (a JSONL file of any known preference
format), ``output_dir``, and optionally ``eval_fraction`` (share of the prompts held out), ``models_dir`` and
``cache_dir``. Checkpoints, metrics.jsonl and samples.jsonl are written to ``output_dir``. SIGTERM and Ctrl-C
write a checkpoint too, and the same command resumes from the last one.

``devices: N`` trains with N processes on this machine, and each step sees N times as many pairs. So does
``torchrun --nproc-per-node N -m hypo_engine config.yaml``, on several machines too.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TextIO

import yaml

from hypo_engine.config import TrainConfig, parse_config
from hypo_engine.data.formats import Account, Kept, Pair, prompt_fraction, read_jsonl_pairs
from hypo_engine.data.pair_texts import PairTexts
from hypo_engine.errors import ConfigError, EngineError, Interrupted
from hypo_engine.reporting import LogLevel, SilentReporter
from hypo_engine.training.jsonl_log import Record
from hypo_engine.training.signals import Stopped, StopSignals

_PLACES = {
    "dataset": None,
    "output_dir": None,
    "eval_fraction": 0.1,
    "models_dir": Path.home() / ".cache" / "hypo-studio" / "models",
    "cache_dir": Path.home() / ".cache" / "hypo-studio" / "reference",
}


@dataclass(frozen=True, slots=True)
class Job:
    """The contents of a YAML file."""

    config: TrainConfig
    dataset: Path
    output_dir: Path
    eval_fraction: float
    models_dir: Path
    cache_dir: Path


class LineReporter(SilentReporter):
    """Prints one line per phase, set of metrics and message."""

    def __init__(self, stream: TextIO) -> None:
        self._last = ""
        self._stream = stream

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def progress(self, step: int, total_steps: int, phase: str) -> None:
        line = f"[{step}/{total_steps}] {phase}"
        if line != self._last:
            self.say(line)
        self._last = line

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.say(f"step {step}: {format_metrics(values)}")

    def checkpoint(self, step: int, path: str) -> None:
        self.say(f"step {step}: checkpoint {path}")

    def log(self, level: LogLevel, message: str) -> None:
        self.say(f"{level}: {message}")


def format_metrics(values: Mapping[str, float]) -> str:
    """Metrics on one line, sorted by name."""
    return "  ".join(f"{name} {values[name]:.5g}" for name in sorted(values))


def read_job(path: Path) -> Job:
    """Read a YAML file.

    Raises:
        ConfigError: it cannot be read, lacks ``dataset`` or ``output_dir``, or a field is invalid.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML; give a file of `name: value` lines.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no `name: value` lines.")
    places: dict[str, Any] = {name: values.pop(name, default) for name, default in _PLACES.items()}
    for name in ("dataset", "output_dir"):
        if not isinstance(places[name], str):
            raise ConfigError(f"{path} does not set {name}; add a line `{name}: PATH`.")
    fraction = places["eval_fraction"]
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
        raise ConfigError(f"eval_fraction is a share from 0 to less than 1 (given: {fraction!r}).")
    return Job(
        config=parse_config(values),
        dataset=Path(places["dataset"]),
        output_dir=Path(places["output_dir"]),
        eval_fraction=float(fraction),
        models_dir=Path(places["models_dir"]),
        cache_dir=Path(places["cache_dir"]),
    )


def read_pairs(path: Path, account: Account) -> Iterator[Pair]:
    """The pairs of a JSONL file of any known format; ``account`` counts what else it holds.

    Raises:
        DataError: as :func:`hypo_engine.data.formats.read_jsonl_pairs`.
    """
    for row in read_jsonl_pairs(path):
        if isinstance(row, Kept):
            account.add(row.unused, row.score, row.pair)
            yield row.pair
        else:
            account.leave_out(row.reason)


def split_pairs(pairs: Iterable[Pair], eval_fraction: float) -> tuple[PairTexts, PairTexts]:
    """Training and held-out pairs: all pairs of a prompt fall on the same side."""
    training, held_out = PairTexts(), PairTexts()
    for pair in pairs:
        (held_out if prompt_fraction(pair.prompt) < eval_fraction else training).append(pair)
    return training, held_out


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as a YAML file says; returns 0, 1 after an error on stderr, or 128 plus a signal's number."""
    parser = argparse.ArgumentParser(prog="python -m hypo_engine", description="Train as a YAML file says.")
    parser.add_argument("config", type=Path, help="YAML: the fields of TrainConfig, dataset and output_dir")
    parser.add_argument("--json", action="store_true", help="print one JSON value on stdout at the end")
    parser.add_argument("--dry-run", action="store_true", help="run a few steps, keep nothing, and measure")
    parser.add_argument("--insist", action="store_true", help="start even if the memory seems too small")
    given = parser.parse_args(arguments)
    try:
        job = read_job(given.config)
        if given.insist:
            job = replace(job, config=job.config.model_copy(update={"insist": True}))
        if job.config.devices > 1 and "WORLD_SIZE" not in os.environ:
            _start_processes(job.config.devices, sys.argv[1:] if arguments is None else arguments)
        _train(job, as_json=given.json, dry=given.dry_run)
    except EngineError as error:
        if _speaks():
            print(error, file=sys.stderr)
        return error.exit_code if isinstance(error, Stopped) else 1
    return 0


def _start_processes(devices: int, arguments: Sequence[str]) -> NoReturn:
    from hypo_engine.distributed.devices import torchrun  # imports torch

    torchrun(arguments, devices=devices)


def _speaks() -> bool:
    """Whether this process prints: the only one, or rank 0 under torchrun."""
    return os.environ.get("RANK", "0") == "0"


def _stream(*, as_json: bool) -> TextIO:
    if not _speaks():
        return Path(os.devnull).open("w", encoding="utf-8")
    return sys.stderr if as_json else sys.stdout


def _train(job: Job, *, as_json: bool, dry: bool) -> None:
    reporter = LineReporter(_stream(as_json=as_json))
    account = Account()
    pairs, held_out = split_pairs(read_pairs(job.dataset, account), job.eval_fraction)
    left_out = account.left_out.total()
    reporter.say(f"{len(pairs)} pairs to train on, {len(held_out)} held out, {left_out} rows left out")
    for sentence in account.sentences(reasons=True):
        reporter.say(sentence)
    if dry:
        from hypo_engine.dry_run import print_dry_run

        print_dry_run(job.config, pairs, models_dir=job.models_dir, as_json=as_json, say=reporter.say)
        return
    from hypo_engine.training.loop import train  # imports torch, so only after the files were checked

    with StopSignals() as stop:
        try:
            result = train(
                job.config,
                pairs,
                eval_pairs=held_out,
                eval_prompts=[pair.prompt for pair in held_out],
                output_dir=job.output_dir,
                reporter=Record(reporter, job.output_dir, stop.wish),
                models_dir=job.models_dir,
                cache_dir=job.cache_dir,
            )
        except Interrupted as interrupted:
            raise Stopped(stop.received, _what_now(job.output_dir)) from interrupted
    weights = str(result.adapter_dir or result.model_dir)
    if as_json and _speaks():
        print(json.dumps({"steps": result.steps, "metrics": result.metrics, "weights": weights}))
        return
    reporter.say(f"{result.steps} steps: {format_metrics(result.metrics)}")
    reporter.say(f"weights: {weights}")


def _what_now(output_dir: Path) -> str:
    from hypo_engine.training.checkpoint import latest_checkpoint

    checkpoint = latest_checkpoint(output_dir)
    if checkpoint is None:
        return "No step was done yet; the same command starts again."
    return f"The run is kept in {checkpoint}; the same command continues from there."


if __name__ == "__main__":
    sys.exit(main())
