"""The study from its beginning or from where it was stopped: pool, pairs, runs, files.

A run whose file is whole is not done again. A run that the app's store has, finished or not, goes on there.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app import migrate
from app.imports import add_dataset
from app.store import datasets
from app.store.db import read_session
from hypo_engine.data.formats import Pair
from study import execution
from study.execution import find_or_queue, finish, start_again
from study.measure import Result, measure, read_result, write_result
from study.plan import Plan, PlannedRun
from study.pool import missing, read_pool
from study.prompts import held_out_share, some
from study.regimes import Regime, make_pairs
from study.report import RUNS

POOL: Final = "pool.jsonl"
PAIRS: Final = "pairs"

Say = Callable[[str], None]


@dataclass
class Study:
    """A plan with the folder of its files.

    Attributes:
        folder: receives a file for each run.
        data: has the pool and the pairs, or receives them.
        say: told what happens, a line at a time.
    """

    plan: Plan
    folder: Path
    data: Path
    say: Say

    def run(self, *, minutes: float | None = None) -> bool:
        """Do what is not done yet; False if time was up first.

        Args:
            minutes: start no new run after so many.

        Raises:
            Stopped: told to stop; the next start goes on.
            RunFailed: a run failed.
        """
        started = time.monotonic()
        migrate.upgrade()
        sets = self.datasets()
        planned = list(self.plan.runs())
        for number, run in enumerate(planned, 1):
            dataset_id, sha = sets[run.regime]
            digest = self.plan.digest(run, sha)
            if self.is_done(run, dataset_id, digest):
                continue
            if minutes is not None and time.monotonic() - started > 60 * minutes:
                self.say(f"{minutes:g} minutes are over; the next start goes on with {run.name}.")
                return False
            result = self.do(run, dataset_id, digest)
            self.say(f"{number} of {len(planned)}: {run.name} {told(result)}")
        return True

    def datasets(self) -> dict[Regime, tuple[int, str]]:
        """The dataset of each regime and its digest; made from the pool if they are not there yet."""
        files = {regime: self.data / PAIRS / f"{regime}.jsonl" for regime in self.plan.regimes}
        if not all(path.exists() for path in files.values()):
            self._make_pairs(files)
        return {regime: _dataset(regime, path, self.plan) for regime, path in files.items()}

    def is_done(self, run: PlannedRun, dataset_id: int, digest: str) -> bool:
        """Whether a run's file is there, whole, and of this plan. A proxy has to be in this store, too."""
        result = read_result(self.path(run))
        if result is None or result["digest"] != digest:
            return False
        return run.setting != self.plan.proxy or execution.has_finished(run.name, dataset_id)

    def do(self, run: PlannedRun, dataset_id: int, digest: str) -> Result:
        """Train one run, or what is missing of it, and write its file."""
        values = self.plan.config(run)
        if run.setting != self.plan.proxy:
            proxy = PlannedRun(self.plan.proxy, run.regime, self.plan.seeds[0])
            values["reward"] = f"run:{execution.number_of(proxy.name, dataset_id)}"
        run_id = find_or_queue(run.name, dataset_id, values)
        start_again(run_id)
        result = measure(run, run_id, digest, finish(run_id))
        write_result(self.path(run), result)
        return result

    def path(self, run: PlannedRun) -> Path:
        """The file of a run."""
        return self.folder / RUNS / f"{run.name}.json"

    def _make_pairs(self, files: dict[Regime, Path]) -> None:
        plan, path, size = self.plan, self.data / POOL, self.plan.pool_size
        if missing(path, size):
            self.say(f"Sampling {plan.pool} answers of the reference to each of {plan.prompts} prompts.")
            sizes = (size.prompts, size.held_out, size.answers, size.tokens)
            model = str(plan.common["model_name_or_path"])
            execution.in_child("sample", [str(path), model, *map(str, sizes)])
        pool, asked = read_pool(path), some(plan.prompts)
        share = held_out_share(asked, plan.held_out)
        for regime, file in files.items():
            pairs = make_pairs(regime, asked, pool, held_out=share, training=plan.pairs)
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial")
            partial.write_text(_lines(pairs), encoding="utf-8")
            partial.rename(file)


def told(result: Result) -> str:
    """A result in half a sentence."""
    took = f"took {result['seconds']:.0f} s" if result["seconds"] is not None else "is done"
    if not result["steps"]:
        return took
    last = result["steps"][-1]
    gold, kl = (sum(last[name]) / len(last[name]) for name in ("gold", "kl"))
    return f"{took}: gold {gold:.2f}, KL {kl:.1f}"


def _lines(pairs: Iterable[Pair]) -> str:
    """Pairs as TRL writes conversations, a line each."""
    rows = ((pair.prompt, _turn(pair.chosen), _turn(pair.rejected)) for pair in pairs)
    named = (dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in rows)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in named)


def _turn(answer: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": answer}]


def _dataset(regime: Regime, path: Path, plan: Plan) -> tuple[int, str]:
    """A regime's dataset in the store, added once, and the digest of its file."""
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    name, share = f"study-{regime}", held_out_share(some(plan.prompts), plan.held_out)
    with read_session() as session:
        for known in datasets.versions_of(name, session=session):
            if known.sha256 == sha and known.held_out == share:
                return known.id, sha
    return add_dataset(path=path, name=name, held_out=share).id, sha
