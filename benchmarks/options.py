"""Command-line options of the benchmark."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from benchmarks.jobs import SHAPES, Precision, Shape, Tuning
from benchmarks.without import PARTS

SECTIONS = ("steps", "reward", "rloo", "decode", "accuracy", "growth", "memory", "parts")
_DEMO = "smollm2-135m-instruct"
_ALL = ",".join(SECTIONS)
_HARMLESS = ("shapes", "tuning", "k", "precision", "rounds", "steps", "sections", "without", "quick")


class BadOption(ValueError):
    """An invalid option. The message names it and the valid values."""


@dataclass(frozen=True, slots=True)
class Options:
    """One run of the benchmark.

    Attributes:
        samples: Values of k; 0 is DPO.
        precisions: Those to measure; empty for those that the machine is fast in.
        rounds: Runs of every contender per configuration.
        steps: Timed steps per child.
        without: Parts of the engine that the section ``parts`` switches off, one after another.
        quick: Whether to use short lengths and few points, which only tests the harness.
        command: The command that repeats this run, without paths.
    """

    model: Path
    shapes: tuple[Shape, ...]
    tunings: tuple[Tuning, ...]
    samples: tuple[int, ...]
    precisions: tuple[Precision, ...]
    rounds: int
    steps: int
    sections: tuple[str, ...]
    without: tuple[str, ...]
    quick: bool
    threads: int
    json: Path | None
    read: tuple[Path, ...]
    write: bool
    command: str

    def rounds_of(self, shape: Shape, tuning: Tuning) -> int:
        """Number of rounds. Full fine-tuning and long prompts take hours: they get a third, at least one."""
        usual = tuning == "lora" and shape.name != "long"
        return self.rounds if usual else max(1, self.rounds // 3)


def parse(arguments: Sequence[str]) -> Options:
    """Parse the command line.

    Raises:
        BadOption: names the option and the valid values.
    """
    given = _parser().parse_args(arguments)
    options = Options(
        model=given.model or Path(os.environ.get("HYPO_HOME") or ".hypo") / "models" / _DEMO,
        shapes=tuple(SHAPES[name] for name in _names("shapes", given.shapes, tuple(SHAPES))),
        tunings=cast(tuple[Tuning, ...], _names("tuning", given.tuning, ("lora", "full"))),
        samples=_numbers("k", given.k),
        precisions=cast(
            tuple[Precision, ...],
            _names("precision", given.precision, ("float32", "bfloat16")) if given.precision else (),
        ),
        rounds=_positive("rounds", given.rounds),
        steps=_positive("steps", given.steps),
        sections=_names("sections", given.sections or ("parts" if given.without else _ALL), SECTIONS),
        without=_names("without", given.without or ",".join(PARTS), PARTS),
        quick=given.quick,
        threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        json=given.json,
        read=tuple(given.read),
        write=given.write,
        command=_command(given),
    )
    if not given.read and not (options.model / "config.json").exists():
        raise BadOption(
            f"--model: there is no model in {str(options.model)!r}; run `make setup`, or give a folder."
        )
    return _quick(options) if options.quick else options


def _quick(options: Options) -> Options:
    return replace(
        options,
        shapes=(SHAPES["short"],),
        tunings=("lora",),
        samples=(0, 2),
        rounds=1,
        steps=1,
        without=options.without[:1],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what a step costs.")
    parser.add_argument("--model", type=Path, help="folder of the base model; by default the demo model")
    parser.add_argument("--shapes", default="tldr,chat,long", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--tuning", default="lora,full", help="of lora, full")
    parser.add_argument("--k", default="0,1,2", help="samples a prompt; 0 is DPO")
    parser.add_argument(
        "--precision", help="of float32, bfloat16; by default those that the machine is fast in"
    )
    parser.add_argument("--rounds", type=int, default=3, help="times that every contender runs, in turn")
    parser.add_argument("--steps", type=int, default=2, help="timed steps a run, after two that are not")
    parser.add_argument("--sections", help=f"of {', '.join(SECTIONS)}; by default all of them")
    parser.add_argument(
        "--without", help=f"measure only what these C parts bring, of {', '.join(PARTS)}; by default all"
    )
    parser.add_argument(
        "--json", type=Path, help="write every measurement to this file as soon as it is made"
    )
    parser.add_argument(
        "--read", type=Path, nargs="+", default=(), help="measure nothing: make the tables of such files"
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--quick", action="store_true", help="few and short: tries the harness only")
    return parser


def _names(option: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"{unknown[0]!r} is not known" if unknown else "nothing is named"
        raise BadOption(f"--{option}: {what}; give some of {', '.join(known)}, with commas between.")
    return names


def _numbers(option: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise BadOption(f"--{option}: {text!r} is no list of numbers; give for example 0,1,2.")
    return tuple(int(part) for part in parts)


def _positive(option: str, number: int) -> int:
    if number < 1:
        raise BadOption(f"--{option}: {number} is too few; give at least 1.")
    return number


def _command(given: argparse.Namespace) -> str:
    defaults = vars(_parser().parse_args([]))
    parts = ["python -m benchmarks"]
    for name in _HARMLESS:
        value = getattr(given, name)
        if value != defaults[name]:
            parts.append(f"--{name}" if value is True else f"--{name} {value}")
    return "make bench" if len(parts) == 1 else " ".join(parts)
