"""A campaign answered in batches against one comparison after the other, and one against several contenders.

The calls that are compared take turns in one process, so that drift of the machine's speed affects both.
Every answer has the same number of tokens, because no token ends it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from sqlalchemy import ColumnElement, func, select

from app import answers, campaign_prompts, campaigns
from app.campaigns import NewCampaign
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session
from app.store.enums import GenerationStatus
from app.store.models import Comparison, Generation
from benchmarks.meter import now
from hypo_engine.generate import GenerationRequest, Served
from worker.answering import answer_next

WORKER = "here:1:generate:benchmark"
LEAST_GAIN = 4.0
"""Least ratio of the tokens a second in batches to those of single comparisons."""

MOST_TIMES = {1: 1.0, 3: 1.4, 6: 1.9}
"""The numbers of contenders of one question, with the most that they may cost in times of one contender's."""

SINGLES = 3
"""Single comparisons after each batch."""

ROUNDS = 5
"""Times that each number of contenders answers."""

_TOPICS = ("rivers", "bridges", "old maps", "the winter", "bees", "a good loaf of bread", "paper", "tides")


@dataclass(slots=True)
class Work:
    """Calls of the worker that wrote something."""

    seconds: list[float] = field(default_factory=list)
    tokens: int = 0

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / sum(self.seconds)


@dataclass(frozen=True, slots=True)
class Gain:
    """A campaign's batches, and the same comparisons one after the other."""

    batches: Work
    singles: Work

    @property
    def ratio(self) -> float:
        return self.batches.rate / self.singles.rate

    @property
    def kept(self) -> bool:
        return self.ratio >= LEAST_GAIN

    def lines(self) -> list[str]:
        """The result in words."""
        ahead, single = self.batches, self.singles
        return [
            f"generated ahead: {ahead.rate:.0f} tokens/s, {len(ahead.seconds)} batches of at most "
            f"{max(ahead.seconds):.1f} s",
            f"one comparison after the other: {single.rate:.0f} tokens/s, {len(single.seconds)} comparisons",
            f"ratio: {self.ratio:.2f}, at least {LEAST_GAIN:.0f}{'' if self.kept else '   under'}",
        ]


def measure_gain(choices: Sequence[ContenderChoice], *, prompts: int, tokens: int) -> Gain:
    """Answer a new campaign as a generate worker does, and after each batch some questions of a chat."""
    questions, decoding = _questions(prompts), Decoding(max_new_tokens=tokens)
    asked = campaign_prompts.checked(questions)
    campaign_id = campaigns.create(NewCampaign("Which is best?", choices, asked, decoding=decoding, seed=7))
    batches, singles, chats = Work(), Work(), list[int]()
    while (seconds := _answer(chats_only=False)) is not None:
        batches.seconds.append(seconds)
        for _ in range(SINGLES):
            question = questions[len(chats) % prompts]
            chats.append(answers.begin(choices, question, seed=7, decoding=decoding).id)
            singles.seconds.append(_answer(chats_only=True) or 0.0)
    batches.tokens = _written(Comparison.campaign_id == campaign_id)
    singles.tokens = _written(Comparison.id.in_(chats))
    return Gain(batches, singles)


def measure_contenders(
    served: Served, adapters: Sequence[str | None], *, tokens: int
) -> dict[int, list[float]]:
    """Seconds of one question to the first 1, 3 and 6 of these models on one base, each several times."""
    seconds: dict[int, list[float]] = {count: [] for count in MOST_TIMES}
    for seed in range(ROUNDS):
        message = [{"role": "user", "content": _questions(1)[0]}]
        for count, times in seconds.items():
            asked = [GenerationRequest(message, name, tokens, 0.7, 1.0, seed) for name in adapters[:count]]
            began = now()
            served.answer(asked)
            times.append(now() - began)
    return seconds


def contender_lines(seconds: dict[int, list[float]]) -> tuple[list[str], bool]:
    """The result in words, and whether it is within the limits."""
    alone, lines, all_kept = median(seconds[1]), [], True
    for count, times in seconds.items():
        ratio = median(times) / alone
        kept = ratio <= MOST_TIMES[count]
        all_kept &= kept
        limit = f", {ratio:.2f} times one's, at most {MOST_TIMES[count]}" if count > 1 else ""
        named = "contender" if count == 1 else "contenders"
        lines.append(f"{count} {named}: {median(times):.2f} s{limit}{'' if kept else '   over'}")
    return lines, all_kept


def _questions(count: int) -> list[str]:
    return [
        f"In {number + 2} sentences, what should one know about {_TOPICS[number % len(_TOPICS)]}, and why?"
        for number in range(count)
    ]


def _answer(*, chats_only: bool) -> float | None:
    """Seconds of one call of the worker; None if nothing waits."""
    began = now()
    return now() - began if answer_next(worker=WORKER, chats_only=chats_only) else None


def _written(which: ColumnElement[bool]) -> int:
    """The tokens of some comparisons' answers.

    Raises:
        RuntimeError: an answer failed or was not written.
    """
    query = select(Generation.status, func.sum(Generation.tokens), func.max(Generation.error))
    query = query.join(Comparison, Generation.comparison_id == Comparison.id).where(which)
    with read_session() as session:
        found = session.execute(query.group_by(Generation.status)).all()
    tokens = {status: int(count) for status, count, _ in found}
    if tokens.keys() != {GenerationStatus.FINISHED}:
        raise RuntimeError(f"Not all answers were written: {found}")
    return tokens[GenerationStatus.FINISHED]
