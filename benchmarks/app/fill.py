"""Fill a database with runs, their metrics and samples, conversations, answers and votes.

The distributions are realistic: a few runs are a thousand times as long as most, a few hundred models get
most of the questions, most comparisons have one vote. The same seed gives the same rows.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Table

from app.store.enums import (
    Choice,
    GenerationKind,
    GenerationStatus,
    MarginKind,
    PairScoringStatus,
    RunStatus,
    Split,
)
from app.store.generations import log_ratios
from app.store.models import Base
from app.store.prompts import sha256_of
from benchmarks.app.bulk import Row, finish, index_words, insert_rows, postpone_words
from hypo_engine.config import TrainConfig

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_WORDS = " ".join(
    (
        "the a of to and in that it is was for on are as with they at be this from have or by one had not",
        "what all were when we there can an your which their said if do will each about how up out them",
        "she many some so these would other into has more her two like him see time could no make than",
    )
).split()
_TRAINED = (
    "loss", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected", "grad_norm",
    "objective/kl", "completions/mean_length", "step_time", "time/sampling", "time/training",
    "learning_rate",
)  # fmt: skip
_HELD_OUT = (
    "eval_loss", "eval_rewards/margins", "eval_rewards/accuracies", "eval_logps/chosen",
    "eval_logps/rejected", "eval_objective/kl", "eval_objective/kl_stderr",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Size:
    """Numbers of rows to insert."""

    runs: int = 10_000
    generations: int = 1_000_000
    metrics: int = 1_000_000
    votes: int = 100_000

    def part(self, share: float) -> "Size":
        """The same proportions at a smaller scale."""
        numbers = (self.runs, self.generations, self.metrics, self.votes)
        return Size(*(max(20, round(number * share)) for number in numbers))


@dataclass(frozen=True, slots=True)
class Filled:
    """Ids of notable rows for the benchmark."""

    longest_run: int
    usual_run: int
    running_run: int
    conversation: int
    comparison: int
    dataset: int
    for_votes: tuple[int, ...]
    for_calls: tuple[int, ...]
    unvoted: tuple[int, ...]
    """Last comparisons of conversations: with two answers in `for_*`, without a vote in `unvoted`."""


class Filler:
    """Generates the rows of every table, in the order of their foreign keys."""

    def __init__(self, size: Size, seed: int = 7) -> None:
        self.size = size
        self._random = random.Random(seed)
        self._texts = [self._text(n) for n in range(500)]
        self._long = max(4, size.runs // 500)
        self._waiting = max(4, size.runs // 50)
        self._over = size.runs - self._waiting
        self._comparisons = size.votes
        self._prompts = min(50_000, size.votes)
        self._datasets = min(300, size.runs)
        self._seats = [self._choose_seats() for _ in range(self._conversations)]

    @property
    def _conversations(self) -> int:
        return -(-self._comparisons // 2)

    def _text(self, number: int) -> str:
        words = self._random.choices(_WORDS, k=20 + number % 80)
        return " ".join(words).capitalize() + "."

    def _choose_seats(self) -> list[int | None]:
        """Choose the answering runs, None for the reference: mostly two, sometimes four, often favourites."""
        wanted = 4 if self._random.random() < 0.1 else 2
        chosen: list[int | None] = [None] if self._random.random() < 0.3 else []
        while len(chosen) < wanted:
            favourite = self._random.random() < 0.7
            run = self._random.randint(1, min(200, self._over) if favourite else self._over)
            if run not in chosen:
                chosen.append(run)
        self._random.shuffle(chosen)
        return chosen

    def tables(self) -> Iterator[tuple[str, Iterator[Row]]]:
        """Yield every table's name and rows."""
        yield "users", ({"id": n, "name": f"voter-{n}"} for n in range(1, 101))
        yield "datasets", self._make_datasets()
        yield "dataset_pairs", self._make_pairs()
        yield "runs", self._make_runs()
        yield "run_events", self._make_events()
        yield "metrics", self._make_metrics()
        yield "checkpoints", self._make_checkpoints()
        yield "pair_scorings", self._make_scorings()
        yield "pair_scores", self._make_scores()
        yield "prompts", self._make_prompts()
        yield "conversations", self._make_conversations()
        yield "contenders", self._make_contenders()
        yield "comparisons", self._make_comparisons()
        yield "generations", self._make_generations()
        yield "labels", self._make_labels()

    def filled(self) -> Filled:
        last = range(2, self._comparisons + 1, 2)
        of_two = [n for n in last[: len(last) // 2 + 20] if len(self._seats[(n - 1) // 2]) == 2][:2000]
        return Filled(
            longest_run=2,
            usual_run=self._over,
            running_run=self._over + 1,
            conversation=self._conversations,
            comparison=2 * self._conversations,
            dataset=1,
            for_votes=tuple(of_two[::2]),
            for_calls=tuple(of_two[1::2]),
            unvoted=tuple(reversed(last[round(0.94 * len(last)) :])),
        )

    # --- data and runs ---

    def _make_datasets(self) -> Iterator[Row]:
        for n in range(1, self._datasets + 1):
            yield {
                "id": n, "name": f"posts-{n % 40}", "version": n // 40 + 1, "sha256": "0" * 64,
                "rows": self._pairs_of(n), "format": "trl", "source": "fill", "created_at": _at(n),
            }  # fmt: skip

    def _pairs_of(self, dataset: int) -> int:
        return max(10, self.size.runs) if dataset == 1 else 10

    def _make_pairs(self) -> Iterator[Row]:
        for dataset in range(1, self._datasets + 1):
            for n in range(self._pairs_of(dataset)):
                yield {
                    "dataset_id": dataset, "position": n, "row": n + 1,
                    "split": Split.HELD_OUT if n % 10 == 0 else Split.TRAIN,
                    "prompt": self._pick(), "chosen": self._pick(), "rejected": self._pick(),
                }  # fmt: skip

    def _make_scorings(self) -> Iterator[Row]:
        pairs = self._pairs_of(1)
        for n in (1, 2):
            yield {
                "id": n, "dataset_id": 1, "run_id": n, "user_id": 1, "run_name": f"model {n}",
                "method": "dpo", "step": 1, "margin_kind": MarginKind.RELATIVE, "beta": 0.1,
                "status": PairScoringStatus.FINISHED, "total": pairs, "done": pairs, "seconds": 9.0,
            }  # fmt: skip

    def _make_scores(self) -> Iterator[Row]:
        for n in (1, 2):
            margins = random.Random(n)
            for position in range(self._pairs_of(1)):
                yield {
                    "scoring_id": n, "position": position, "margin": margins.gauss(1.0, 2.0),
                    "chosen": -50.0, "rejected": -60.0, "reference_chosen": -52.0,
                    "reference_rejected": -55.0, "chosen_tokens": 20, "rejected_tokens": 22,
                }  # fmt: skip

    def _pick(self) -> str:
        return self._random.choice(self._texts)

    def _make_runs(self) -> Iterator[Row]:
        config = TrainConfig(model_name_or_path="demo").model_dump(mode="json")
        for n in range(1, self.size.runs + 1):
            method = "hypo" if n % 2 == 0 else "dpo"
            status = self._status(n)
            started = None if status is RunStatus.QUEUED else _at(n * 60)
            yield {
                "id": n, "name": f"posts · {method} {n}", "method": method, "status": status,
                "dataset_id": n % self._datasets + 1, "base_model": "demo",
                "config": {**config, "method": method, "seed": n % 10}, "seed": n % 10,
                "twin_group": f"00000000-0000-0000-0000-{(n + 1) // 2:012d}",
                "attempt": 0 if started is None else 1, "created_at": _at(n * 60 - 5), "started_at": started,
                "finished_at": _at(n * 60 + 50) if status.is_over else None,
                "step": 0 if started is None else self._steps(n), "total_steps": self._steps(n),
                "error": "The loss is not a number." if status is RunStatus.FAILED else None,
                "lease_id": "a-lease" if status is RunStatus.RUNNING else None,
                "lease_until": _at(2**31) if status is RunStatus.RUNNING else None,
                "sent_at": datetime.now(UTC) if status is RunStatus.QUEUED else None,
            }  # fmt: skip

    def _status(self, n: int) -> RunStatus:
        if n > self._over:
            return RunStatus.RUNNING if n <= self._over + 4 else RunStatus.QUEUED
        usual = {17: RunStatus.FAILED, 23: RunStatus.CANCELLED}
        return usual.get(n % 50, RunStatus.FINISHED) if n > 200 else RunStatus.FINISHED

    def _steps(self, n: int) -> int:
        """Steps of a run. The long runs share 40% of all points."""
        share = 0.4 * self.size.metrics / self._long if n <= self._long else 0.6 * self.size.metrics
        runs = 1 if n <= self._long else self.size.runs - self._long - self._waiting
        return max(2, int((share / runs - 3 * len(_HELD_OUT)) / len(_TRAINED)))

    def _make_events(self) -> Iterator[Row]:
        number = 0
        for run in range(1, self.size.runs + 1):
            for n in range(8):
                number += 1
                yield {"id": number, "run_id": run, "at": _at(run * 60 + n), "message": f"Event {n}."}

    def _make_metrics(self) -> Iterator[Row]:
        for run in range(1, self._over + 5):
            steps = self._steps(run)
            evaluated = {0, steps // 2, steps}
            for step in range(steps + 1):
                names = (*(_TRAINED if step else ()), *(_HELD_OUT if step in evaluated else ()))
                for name in names:
                    value = self._random.random() / (1 + step / steps)
                    yield {"run_id": run, "name": name, "step": step, "value": value, "at": _at(run * 60)}

    def _make_checkpoints(self) -> Iterator[Row]:
        for run in range(1, self._over + 1):
            for number, step in enumerate((self._steps(run) // 2, self._steps(run))):
                yield {
                    "id": 2 * run - 1 + number, "run_id": run, "step": step, "path": f"runs/{run}/{step}",
                }  # fmt: skip

    # --- conversations and votes ---

    def _make_prompts(self) -> Iterator[Row]:
        for n in range(1, self._prompts + 1):
            content = [{"role": "user", "content": f"{n}: {self._pick()}"}]
            yield {"id": n, "sha256": sha256_of(content), "content": content}

    def _make_conversations(self) -> Iterator[Row]:
        parameters = {"max_new_tokens": 128, "temperature": 0.7, "top_p": 1.0}
        for n in range(1, self._conversations + 1):
            yield {
                "id": n, "user_id": n % 100 + 1, "blind": n % 3 > 0, "seed": n, "parameters": parameters,
                "created_at": _at(n * 6),
            }  # fmt: skip

    def _make_contenders(self) -> Iterator[Row]:
        for n, seats in enumerate(self._seats, start=1):
            for position, run in enumerate(seats):
                who: dict[str, Any] = {"name": "Reference", "method": "reference"}
                if run is not None:
                    method = "hypo" if run % 2 == 0 else "dpo"
                    who = {
                        "name": f"posts · {method} {run}", "method": method, "run_id": run,
                        "checkpoint_id": 2 * run,
                    }  # fmt: skip
                yield {"conversation_id": n, "position": position, "base_model": "demo", **who}

    def _make_comparisons(self) -> Iterator[Row]:
        for n in range(1, self._comparisons + 1):
            yield {
                "id": n, "conversation_id": (n + 1) // 2, "turn": (n + 1) % 2, "question": self._pick(),
                "sent_at": _at(n * 3), "attempt": 1, "created_at": _at(n * 3),
                "shown_order": list(range(len(self._seats[(n - 1) // 2]))),
            }  # fmt: skip

    def _make_generations(self) -> Iterator[Row]:
        number = 0
        for comparison in range(1, self._comparisons + 1):
            for position in range(len(self._seats[(comparison - 1) // 2])):
                number += 1
                yield self._answer(number, comparison, position)
        yield from self._samples(number)

    def _answer(self, number: int, comparison: int, position: int) -> Row:
        said = self._pick()
        return {
            **_sampled(number, said, comparison % self._prompts + 1), "kind": GenerationKind.ANSWER,
            "status": GenerationStatus.FINISHED, "comparison_id": comparison, "position": position,
            "seconds": 1.5, "token_logps": [[f"{word} ", -1.25, -1.5] for word in said.split()[:24]],
        }  # fmt: skip

    def _samples(self, number: int) -> Iterator[Row]:
        """The samples of HyPO runs, a fifth of them from the long runs."""
        left = self.size.generations - number
        for_long, methods = max(0, left // 5), self._over // 2
        while left > 0:
            left, number = left - 1, number + 1
            run = 2 * (number % max(1, self._long // 2)) + 2 if for_long > 0 else 2 * (number % methods) + 2
            for_long -= 1
            step = number % max(1, self._steps(run))
            yield {
                **_sampled(number, self._pick(), number % self._prompts + 1), "run_id": run, "step": step,
                "kind": GenerationKind.PROBE if step % 50 == 0 else GenerationKind.ONLINE,
            }  # fmt: skip

    def _make_labels(self) -> Iterator[Row]:
        """One vote on most comparisons, two on some, and none on the last twentieth."""
        first_answer, number = 1, 0
        for comparison in range(1, self._comparisons + 1):
            sides = len(self._seats[(comparison - 1) // 2])
            shown = list(range(first_answer, first_answer + sides))
            first_answer += sides
            voters = (0, 1, 1, 1, 1, 1, 1, 1, 1, 2)[comparison % 10] if comparison % 5 else 1
            for voter in range(min(voters, self.size.votes - number)):
                number += 1
                yield self._label(number, comparison, (comparison + 37 * voter) % 100 + 1, shown)

    def _label(self, number: int, comparison: int, user: int, shown: list[int]) -> Row:
        choice = self._random.choices(list(Choice), (80, 12, 8))[0]
        best, worst = self._random.sample(shown, 2) if choice is Choice.BEST else (None, None)
        return {
            "id": number, "comparison_id": comparison, "user_id": user, "choice": choice, "best_id": best,
            "worst_id": worst, "shown": shown, "blind": comparison % 3 > 0, "seconds": 9.5,
            "reason": self._pick()[:60] if number % 9 == 0 else "",
            "created_at": _at(number * 3), "updated_at": _at(number * 3),
        }  # fmt: skip


def _sampled(number: int, said: str, prompt: int) -> dict[str, Any]:
    tokens, policy, reference = len(said) // 4, -31.5 - number % 997 / 50, -33.25
    return {
        "id": number, "prompt_id": prompt, "text": f"{said} Item {number % 50_000}.", "seed": number,
        "tokens": tokens, "policy_logp": policy, "reference_logp": reference,
        "score": number % 1009 / 100 if number % 4 == 0 else None,
        "created_at": _at(number % 10**7), **log_ratios(policy, reference, tokens),
    }  # fmt: skip


def _at(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=min(seconds, 10**9))


def fill(engine: Engine, size: Size | None = None, *, on_table: Any = None) -> Filled:
    """Fill the empty tables of a migrated database.

    Args:
        on_table: called with a table's name and its number of rows after their insertion.
    """
    filler = Filler(size or Size())
    tables: dict[str, Table] = dict(Base.metadata.tables)
    postpone_words(engine)
    for name, rows in filler.tables():
        written = insert_rows(engine, tables[name], rows)
        if on_table is not None:
            on_table(name, written)
    index_words(engine)
    finish(engine, tables.values())
    return filler.filled()
