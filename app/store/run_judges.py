"""Judges of a run's evaluations: each held-out sample against the reference's sample for the same prompt.

Before the first step the policy is the reference, so the reference's samples are those of step 0. A prompt
has the same seed at every step, so only the policy changes.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session, aliased

from app.store import metrics
from app.store.enums import GenerationKind, Outcome, VerdictStatus
from app.store.judges import ROWS, Decided, WholeVerdict, queue_again
from app.store.models import Generation, Judge, JudgeReply, JudgeVerdict, Metric, Prompt

WIN_RATE = "eval_win_rate"
"""Name of the win rates, followed by that of the judge."""

MAX_NAME_CHARS = 50
"""Of a judge's name in the names of its metrics."""

_WINS = {Outcome.FIRST: 1.0, Outcome.SECOND: 0.0, Outcome.TIE: 0.5}


def metric_of(judge: Judge) -> str:
    """The metric of a judge's win rates: the share of prompts on which the policy's answer wins."""
    return f"{WIN_RATE}/{judge.name[:MAX_NAME_CHARS]}"


def metrics_of(run_ids: Collection[int], *, session: Session) -> list[str]:
    """The metrics of the win rates of some runs, sorted."""
    found = session.scalars(select(Judge).where(Judge.run_id.in_(run_ids)))
    return sorted({metric_of(judge) for judge in found})


def of_run(run_id: int, *, session: Session) -> Sequence[Judge]:
    """The judges of a run, oldest first."""
    return session.scalars(select(Judge).where(Judge.run_id == run_id).order_by(Judge.id)).all()


def queue(judge: Judge, *, session: Session) -> int:
    """Queue the samples that have no verdict yet, and those that were stopped or failed; return their number.

    Samples that equal the reference's are not judged.
    """
    return queue_fresh(judge, session=session) + queue_again(judge, session=session)


def queue_fresh(judge: Judge, *, session: Session, step: int | None = None) -> int:
    """Queue the samples that have no verdict yet and differ from the reference's; return their number.

    Args:
        step: only the samples of one step; None for all.
    """
    steps = None if step is None else {step}
    fresh = [
        {
            "judge_id": judge.id,
            "answer_id": match.answer_id,
            "against_id": match.against_id,
            "first": 0,
            "second": 1,
            "attempt": 0,
            "status": VerdictStatus.QUEUED,
        }
        for match in _matches(judge, steps, session=session)
        if not match.alike and match.status is None
    ]
    for start in range(0, len(fresh), ROWS):
        session.execute(insert(JudgeVerdict), fresh[start : start + ROWS])
    _record_win_rates(judge, steps, session=session)
    return len(fresh)


def queue_step(run_id: int, step: int, *, session: Session) -> None:
    """Queue the samples of a new evaluation for all judges of a run. Their keepers wake the workers."""
    for judge in of_run(run_id, session=session):
        queue_fresh(judge, session=session, step=step)


class _Match(NamedTuple):
    """A sample and the reference's, with the state and the outcome of the verdict on them, if there is one.

    `alike` tells that their texts are equal, which is a tie without a verdict.
    """

    step: int
    answer_id: int
    against_id: int
    alike: bool
    status: VerdictStatus | None
    outcome: Outcome | None


def _matches(judge: Judge, steps: Collection[int] | None, *, session: Session) -> Iterator[_Match]:
    own, base = aliased(Generation), aliased(Generation)
    sampled = (own.run_id == judge.run_id) & (own.kind == GenerationKind.EVAL)
    same = (base.run_id == own.run_id) & (base.kind == own.kind) & (base.step == 0)
    query = (
        select(own.step, own.id, base.id, own.text == base.text, JudgeVerdict.status, JudgeVerdict.outcome)
        .join(base, same & (base.prompt_id == own.prompt_id) & (base.seed == own.seed))
        .outerjoin(JudgeVerdict, (JudgeVerdict.judge_id == judge.id) & (JudgeVerdict.answer_id == own.id))
        .where(sampled, own.step > 0)
        .order_by(own.step, own.id)
    )
    if steps is not None:
        query = query.where(own.step.in_(steps))
    for step, answer_id, against_id, alike, status, outcome in session.execute(query):
        yield _Match(int(step or 0), answer_id, against_id, bool(alike), status, outcome)


def verdicts_written(judge: Judge, verdict_ids: Collection[int], *, session: Session) -> None:
    """Store the win rates of the steps that some verdicts are about. For a campaign's judge, do nothing."""
    if judge.run_id is None:
        return
    query = select(Generation.step).join(JudgeVerdict, JudgeVerdict.answer_id == Generation.id)
    steps = session.scalars(query.where(JudgeVerdict.id.in_(verdict_ids)).distinct())
    _record_win_rates(judge, {step or 0 for step in steps}, session=session)


def _record_win_rates(judge: Judge, steps: Collection[int] | None, *, session: Session) -> None:
    """Store the win rates of those steps on which the judge has no verdict left to write; None is all steps.

    A tie counts half, and so do equal texts, which are not judged. The standard error is that of a mean over
    prompts. Samples without a verdict (failed, unparsable) are left out; `_num` counts the others.
    """
    assert judge.run_id is not None
    wins: dict[int, list[float]] = defaultdict(list)
    unfinished = set[int]()
    for match in _matches(judge, steps, session=session):
        if match.alike:
            wins[match.step].append(0.5)
        elif match.status in (None, VerdictStatus.QUEUED, VerdictStatus.STOPPED):
            unfinished.add(match.step)
        elif match.outcome is not None:
            wins[match.step].append(_WINS[match.outcome])
    for step, values in wins.items():
        if step not in unfinished:
            metrics.record(judge.run_id, session=session, step=step, values=_rate(metric_of(judge), values))


def _rate(name: str, values: Sequence[float]) -> dict[str, float]:
    rate = {name: fmean(values), f"{name}_num": float(len(values))}
    return rate | ({f"{name}_stderr": stdev(values) / math.sqrt(len(values))} if len(values) > 1 else {})


def decided(judge_id: int, *, session: Session) -> list[Decided]:
    """The verdicts of a judge that have an outcome, in order."""
    own, base = aliased(Generation), aliased(Generation)
    query = (
        select(
            JudgeVerdict.answer_id,
            own.prompt_id,
            JudgeVerdict.first,
            JudgeVerdict.second,
            JudgeVerdict.outcome,
            JudgeVerdict.flipped,
            func.length(own.text) - func.length(base.text),
        )
        .join(own, own.id == JudgeVerdict.answer_id)
        .join(base, base.id == JudgeVerdict.against_id)
        .where(JudgeVerdict.judge_id == judge_id, JudgeVerdict.status == VerdictStatus.JUDGED)
        .order_by(JudgeVerdict.id)
    )
    return [Decided(*row) for row in session.execute(query)]


def page(judge_id: int, *, session: Session, limit: int, after: int = 0) -> list[tuple[int, WholeVerdict]]:
    """Verdicts of a judge with an id above `after`, in order, each with its step."""
    forward, backward = aliased(JudgeReply), aliased(JudgeReply)
    query = (
        select(Generation.step, Prompt, JudgeVerdict, forward.text, backward.text)
        .join(Generation, Generation.id == JudgeVerdict.answer_id)
        .join(Prompt, Prompt.id == Generation.prompt_id)
        .outerjoin(forward, JudgeVerdict.forward_id == forward.id)
        .outerjoin(backward, JudgeVerdict.backward_id == backward.id)
        .where(JudgeVerdict.judge_id == judge_id, JudgeVerdict.id > after)
        .order_by(JudgeVerdict.id)
        .limit(limit)
    )
    return [
        (step or 0, WholeVerdict(verdict, _question(prompt), *texts))
        for step, prompt, verdict, *texts in session.execute(query)
    ]


def remove(judge: Judge, *, session: Session) -> None:
    """Delete a judge, its verdicts and its metrics. Replies that were paid for stay."""
    name = metric_of(judge)
    session.execute(
        delete(Metric).where(
            Metric.run_id == judge.run_id, Metric.name.in_([name, f"{name}_stderr", f"{name}_num"])
        )
    )
    session.execute(delete(JudgeVerdict).where(JudgeVerdict.judge_id == judge.id))
    session.delete(judge)


def _question(prompt: Prompt) -> str:
    """A prompt's text, or its last turn."""
    return prompt.content if isinstance(prompt.content, str) else str(prompt.content[-1]["content"])
