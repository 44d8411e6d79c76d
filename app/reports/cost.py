"""What an experiment cost: time and tokens of its runs, and replies of endpoints that have prices."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.reports.reading import Experiment, RunLine
from app.store.judges import Cost


@dataclass(frozen=True, slots=True)
class RunCost:
    """Cost of a run.

    Attributes:
        seconds: from its first start to its end, evaluations, checkpoints and pauses included; None before.
        tokens: tokens of the pairs that it read; sampled tokens are not among them.
    """

    run_id: int
    seconds: float | None
    device: str | None
    attempts: int
    tokens: int | None


@dataclass(frozen=True, slots=True)
class CampaignCost:
    """Cost of a campaign in the currency of the endpoints' prices; None where it is unknown or free."""

    campaign_id: int
    answers: float | None
    judges: float | None
    replies: int


def of_runs(found: Experiment) -> list[RunCost]:
    """The cost of each run that was not deleted."""
    return [_of_run(line) for line in found.lines if line.run is not None]


def _of_run(line: RunLine) -> RunCost:
    run = line.run
    assert run is not None
    ended = run.finished_at if run.started_at is not None else None
    tokens = line.metrics.get("num_tokens")
    return RunCost(
        run.id,
        (ended - run.started_at).total_seconds() if ended is not None and run.started_at else None,
        run.device,
        run.attempt,
        None if tokens is None else round(tokens),
    )


def of_campaigns(found: Experiment) -> list[CampaignCost]:
    """The cost of the answers and judges of each campaign."""
    costs = []
    for part in found.campaigns:
        spent = [judged.report.cost for judged in part.judges]
        replies = sum(one.replies for one in spent)
        costs.append(CampaignCost(part.id, part.overview.progress.cost, _sum(spent), replies))
    return costs


def _sum(spent: Sequence[Cost]) -> float | None:
    """The sum of what judges cost; None if one is unknown, and without a reply."""
    asked = [one.cost for one in spent if one.replies]
    known = [cost for cost in asked if cost is not None]
    return sum(known) if asked and len(known) == len(asked) else None
