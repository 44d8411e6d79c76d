"""The sections of the benchmark: their jobs, the order of these, and the stored results."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.children import run_job
from benchmarks.jobs import CONTENDERS, SHAPES, Job, Shape, Tuning
from benchmarks.options import Options
from benchmarks.results import Record, Results, record_of

TOLERANCE = 1e-4
TOLERANCE_BF16 = 0.1
"""Largest allowed difference of a token's log-probability from float32's, in nats; in bfloat16, of the mean
difference.
"""

Progress = Callable[[str], None]
_Name = TypeVar("_Name")


class Disagreement(RuntimeError):
    """Contenders compute different results, so their times cannot be compared."""


class Bench:
    """Runs sections and stores the results."""

    def __init__(self, options: Options, results: Results, model: Path, name: str) -> None:
        self._options, self._results, self._model, self._name = options, results, model, name
        self._started = time.monotonic()

    def run(self, sections: Sequence[str]) -> None:
        """Run sections by name, saving after each child."""
        for section in sections:
            getattr(self, section)()

    def steps(self) -> None:
        """Time optimiser steps; contenders alternate in each round."""
        options = self._options
        configurations = list(product(options.shapes, options.tunings, options.samples))
        for shape, tuning in product(options.shapes, options.tunings):
            job = self._job("logps", shape, tuning=tuning)
            self._check_agreement(job, ("logps", "trl_logps"), "log-probabilities", unit="nats a token")
        plan = [
            (number, shape, tuning, samples, *who)
            for number in range(options.rounds)
            for shape, tuning, samples in configurations
            if number < options.rounds_of(shape, tuning)
            for who in in_turn(tuple(product(contenders(samples), options.precisions)), number)
        ]
        measured: set[tuple[int, str]] = set()
        for place, (number, shape, tuning, samples, contender, precision) in enumerate(plan, start=1):
            if (number, shape.name) not in measured:
                measured.add((number, shape.name))
                self._measure_rates(shape)
            job = self._job(
                contender, shape, tuning=tuning, samples=samples, precision=precision, steps=options.steps
            )
            what = f"{shape.name}, {tuning}, {job.method}, {CONTENDERS[contender]}, {precision}"
            run = self._measure(job, f"[{place}/{len(plan)}] round {number + 1}: {what}")
            self._record(self._results.steps, job)["runs"].append(run)
            self._results.save(options.json)

    def reward(self) -> None:
        """Time steps of a reward model, after its rewards agree with TRL's."""
        for shape in self._usual_shapes():
            job = self._job("rewards", shape, trains="reward")
            self._check_agreement(job, ("rewards", "trl_rewards"), "rewards", unit="an answer")
        self._other("reward", trains="reward")

    def rloo(self) -> None:
        """Time steps of RLOO."""
        self._other("rloo", trains="rloo", samples=2)

    def _usual_shapes(self) -> tuple[Shape, ...]:
        return tuple(shape for shape in self._options.shapes if shape.name != "long")

    def _other(self, section: str, **more: Any) -> None:
        """Time the steps of another method with LoRA; contenders alternate in each round."""
        records = getattr(self._results, section)
        for number in range(self._options.rounds):
            settings = in_turn(tuple(product(contenders(0), self._options.precisions)), number)
            for shape, (contender, precision) in product(self._usual_shapes(), settings):
                job = self._job(contender, shape, precision=precision, steps=self._options.steps, **more)
                what = f"round {number + 1}: {shape.name}, {job.method}, {CONTENDERS[contender]}, {precision}"
                self._record(records, job)["runs"].append(self._measure(job, what))
                self._results.save(self._options.json)

    def decode(self) -> None:
        """Time decoding of 4, 8 and 16 rows, and test the distribution of draws."""
        shape = Shape("decode", 90, 16 if self._options.quick else 64)
        if not any(record["job"]["model"] == self._name for record in self._results.rates):
            self._measure_rates(shape)
        # on a GPU, full fine-tuning uses a float32 model, which would be an unfair comparison
        tunings: tuple[Tuning, ...] = ("lora",) if self._results.on_gpu else ("lora", "full")
        every = product((4,) if self._options.quick else (4, 8, 16), tunings, self._options.precisions)
        for rows, tuning, precision in every:
            if (tuning, precision) == ("full", "bfloat16"):
                continue  # trained weights are float32, and autocast would round all of them for each token
            steps = max(2, self._options.rounds)
            job = self._job("decode", shape, tuning=tuning, samples=2, precision=precision, steps=steps)
            job = replace(job, pairs=rows // 2)
            found = self._measure(job, f"decoding {rows} rows, {tuning}, {precision}")
            self._results.decode.append(record_of(job, self._name, **found))
            self._results.save(self._options.json)
        draws = {"draws": 1024 if self._options.quick else 8192}
        job = replace(self._job("draws", Shape("draws", 16, 1), samples=1), pairs=1, settings=draws)
        self._results.draws.append(
            record_of(job, self._name, **self._measure(job, f"{draws['draws']} draws of one token"))
        )
        self._results.save(self._options.json)

    def accuracy(self) -> None:
        """Compare log-probabilities with float64's, if the machine is fast in bfloat16."""
        if "bfloat16" not in self._options.precisions:
            return
        texts = 8 if self._options.quick else 80
        job = replace(self._job("accuracy", Shape("accuracy", 16, 128)), pairs=texts)
        found = self._measure(job, f"log-probabilities of {texts * job.completion} tokens against float64")
        self._results.accuracy.append(record_of(job, self._name, **found))
        self._results.save(self._options.json)

    def growth(self) -> None:
        """Measure our step's time and memory while one size at a time grows."""
        jobs = growth_jobs(self._job("ours", Shape("growth", 256, 64)))
        for varied, job in jobs[:: len(jobs) if self._options.quick else 1]:
            run = self._measure(job, f"growth: {varied} at P {job.prompt}, C {job.completion}, B {job.pairs}")
            self._results.growth.append(record_of(job, self._name, varied=varied, runs=[run]))
            self._results.save(self._options.json)

    def memory(self) -> None:
        """Compare the estimated with the measured peak memory."""
        jobs = memory_jobs(self._job("ours", Shape("memory", 256, 64)))
        every = product(jobs[:1] if self._options.quick else jobs, self._options.precisions)
        for job in (replace(job, precision=precision) for job, precision in every):
            what = f"memory: P {job.prompt}, C {job.completion}, B {job.pairs}, {job.tuning}, {job.method}"
            run = self._measure(job, what)
            estimate = self._measure(replace(job, measure="estimate"), "its estimate")
            self._results.memory.append(record_of(job, self._name, runs=[run], estimate=estimate))
            self._results.save(self._options.json)

    def parts(self) -> None:
        """Time steps of the whole engine, and of the engine without each C part."""
        options = self._options
        if self._results.on_gpu:
            return
        for number in range(options.rounds):
            for without in in_turn(("", *options.without), number):
                for shape, samples in parts_steps(quick=options.quick):
                    job = self._job("ours", shape, samples=samples, steps=options.steps, without=without)
                    run = self._measure(
                        job, f"round {number + 1}: {shape.name}, {job.method}, without {without or 'nothing'}"
                    )
                    self._record(self._results.parts, job)["runs"].append(run)
                    self._results.save(options.json)

    def _check_agreement(self, job: Job, measures: tuple[str, str], what: str, *, unit: str) -> None:
        """Hold ours and TRL's in every precision against TRL's in float32."""
        told = f"{job.prompt} + {job.completion} tokens, {job.tuning}: {what} of the first batch"
        theirs = self._measure(replace(job, measure=measures[1]), f"{told}, TRL, float32")
        for precision in self._options.precisions:
            for measure, who in zip(measures, ("ours", "TRL"), strict=True):
                if (who, precision) == ("TRL", "float32"):
                    continue
                own = replace(job, measure=measure, precision=precision)
                found = self._measure(own, f"{told}, {who}, {precision}")
                record = record_of(own, self._name, who=who, difference=None)
                self._results.agreement.append(record)
                if "out_of_memory" not in found and "out_of_memory" not in theirs:
                    record["difference"] = check_agreement(
                        found[measures[0]],
                        theirs[measures[0]],
                        what=f"{told}, {who}, {precision},",
                        unit=unit,
                        bf16=precision == "bfloat16",
                    )

    def _measure_rates(self, shape: Shape) -> None:
        for precision in self._options.precisions:
            settings = {"megabytes": 64 if self._options.quick else 1024}
            job = replace(self._job("rates", shape, precision=precision), settings=settings)
            found = self._measure(job, f"the machine's rates, {precision}")
            self._results.rates.append(record_of(job, self._name, **found))

    def _job(self, measure: str, shape: Shape, **more: Any) -> Job:
        return Job(
            measure=measure,
            model=str(self._model),
            prompt=shape.prompt,
            completion=shape.completion,
            threads=self._options.threads,
            **more,
        )

    def _record(self, records: list[Record], job: Job) -> Record:
        fresh = record_of(job, self._name, runs=[])
        for record in records:
            if record["job"] == fresh["job"]:
                return record
        records.append(fresh)
        return fresh

    def _measure(self, job: Job, what: str) -> Record:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        print(f"{minutes:3d}:{seconds:02d}  {what}", file=sys.stderr, end="", flush=True)
        found = run_job(job)
        print(_told(found), file=sys.stderr, flush=True)
        return found


def contenders(samples: int) -> tuple[str, ...]:
    """The contenders that can run a step with this number of samples."""
    return ("ours", "composed") if samples else ("ours", "trl", "trl_tuned")


def in_turn(names: tuple[_Name, ...], number: int) -> tuple[_Name, ...]:
    """Rotate the names, so that each round starts with another one."""
    first = number % len(names)
    return names[first:] + names[:first]


def check_agreement(
    ours: list[list[float]], theirs: list[list[float]], *, what: str, bf16: bool, unit: str = "nats a token"
) -> float:
    """Compare log-probabilities token by token, or other numbers.

    Returns:
        The largest difference; in bfloat16, the mean difference.

    Raises:
        Disagreement: the difference exceeds the tolerance, or the shapes differ.
    """
    if [len(row) for row in ours] != [len(row) for row in theirs]:
        raise Disagreement(f"{what} have other lengths than TRL's; nothing was timed.")
    gaps = [
        abs(a - b) for row, other in zip(ours, theirs, strict=True) for a, b in zip(row, other, strict=True)
    ]
    difference = sum(gaps) / len(gaps) if bf16 else max(gaps)
    tolerance = TOLERANCE_BF16 if bf16 else TOLERANCE
    if not difference <= tolerance:
        raise Disagreement(
            f"{what} differ by {difference:.2g} {unit} from TRL's in float32, "
            f"more than {tolerance:g}; times of unlike work are not compared, so nothing was timed."
        )
    return difference


def growth_jobs(base: Job) -> list[tuple[str, Job]]:
    """Jobs in which one size varies and the others are fixed, with the name of the size."""
    varied: list[tuple[str, Job]] = [
        ("P", replace(base, prompt=size)) for size in (64, 128, 256, 512, 1024, 2048)
    ]
    varied += [("C", replace(base, completion=size)) for size in (32, 64, 128, 256)]
    varied += [("B", replace(base, pairs=size)) for size in (1, 2, 4, 8)]
    varied += [("k", replace(base, samples=size)) for size in (1, 2, 4, 8)]
    return varied


def memory_jobs(base: Job) -> list[Job]:
    """Configurations that cover every kind of step: ten, and two with 4-bit weights."""
    tldr, chat, long = (
        replace(base, prompt=SHAPES[name].prompt, completion=SHAPES[name].completion)
        for name in ("tldr", "chat", "long")
    )
    return [
        replace(base, pairs=8),
        replace(base, pairs=2, prompt=512, tuning="full"),
        tldr,
        replace(tldr, samples=2),
        replace(tldr, tuning="full"),
        chat,
        replace(chat, samples=2),
        replace(chat, samples=1, tuning="full"),
        replace(long, pairs=2),
        replace(long, pairs=2, samples=1),
        replace(tldr, tuning="qlora"),
        replace(chat, samples=2, tuning="qlora"),
    ]


def parts_steps(*, quick: bool) -> list[tuple[Shape, int]]:
    """The steps for measuring C parts: DPO with long prompts, and HyPO (k = 2), which decodes."""
    return [(SHAPES["short"], 2)] if quick else [(SHAPES["tldr"], 0), (SHAPES["chat"], 2)]


def _told(found: Record) -> str:
    if "out_of_memory" in found:
        return ": out of memory"
    if "seconds" in found:
        times = ", ".join(f"{seconds:.2f}" for seconds in found["seconds"])
        return f": {times} s, {found['peak'] / 1e9:.2f} GB"
    return ": done"
