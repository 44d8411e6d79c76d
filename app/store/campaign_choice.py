"""Which task a person gets next: in order, or the one whose vote is expected to tell most.

The informative order follows the active sampling of Chatbot Arena (Chiang et al., arXiv 2403.04132, section
5): a pair of contenders is preferred in proportion to the expected reduction of its confidence interval,
sqrt(v / n) - sqrt(v / (n + 1)), with v the variance of its outcomes and n the number of its votes. Here the
pair with the largest reduction is taken, not drawn.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.enums import CampaignOrder, Choice
from app.store.models import Campaign, Generation, Label, Task

Pair = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task that a person can get. `taken` counts its votes and the open slots of others."""

    comparison_id: int
    number: int
    first: int | None
    second: int | None
    taken: int

    @property
    def pair(self) -> Pair:
        return self.first, self.second


@dataclass(slots=True)
class Outcomes:
    """The votes of a pair: their number, and the points of the first contender; a tie is half a point."""

    votes: int = 0
    points: float = 0.0

    @property
    def reduction(self) -> float:
        """By how much one more vote is expected to narrow the interval of the first contender's share.

        One win and one loss are added, so that a pair without votes, or with equal ones, has a variance.
        """
        share, count = (self.points + 1) / (self.votes + 2), self.votes + 1
        variance = share * (1 - share)
        return math.sqrt(variance / count) - math.sqrt(variance / (count + 1))


def choose(
    candidates: Sequence[Candidate], campaign: Campaign, count: int, *, session: Session
) -> list[Candidate]:
    """Choose up to `count` tasks, the next one first."""
    if campaign.order is CampaignOrder.IN_ORDER:
        return list(candidates[:count])
    return most_informative(candidates, outcomes(campaign.id, session=session), count)


def most_informative(
    candidates: Iterable[Candidate], known: dict[Pair, Outcomes], count: int
) -> list[Candidate]:
    """Take tasks of the pairs whose intervals narrow most; of a pair, those with the fewest votes, in order.

    A chosen task counts as a vote of its pair at its present share before the next one is chosen.
    """
    waiting: dict[Pair, list[Candidate]] = {}
    for task in sorted(candidates, key=lambda task: (task.taken, task.number)):
        waiting.setdefault(task.pair, []).append(task)
    counts = {pair: Outcomes(found.votes, found.points) for pair, found in known.items()}
    chosen: list[Candidate] = []
    while waiting and len(chosen) < count:
        pair = max(waiting, key=lambda one: (_reduction(counts, one), -waiting[one][0].number))
        chosen.append(waiting[pair].pop(0))
        if not waiting[pair]:
            del waiting[pair]
        counted = counts.setdefault(pair, Outcomes())
        counted.points += (counted.points + 1) / (counted.votes + 2)
        counted.votes += 1
    return chosen


def _reduction(known: dict[Pair, Outcomes], pair: Pair) -> float:
    return known.get(pair, Outcomes()).reduction


def outcomes(campaign_id: int, *, session: Session) -> dict[Pair, Outcomes]:
    """The votes of each pair of a campaign. Ties and both bad are half a point for each side."""
    query = (
        select(Task.first, Task.second, Label.choice, Generation.position, func.count())
        .join(Label, Label.comparison_id == Task.comparison_id)
        .outerjoin(Generation, Generation.id == Label.best_id)
        .where(Task.campaign_id == campaign_id)
        .group_by(Task.first, Task.second, Label.choice, Generation.position)
    )
    found: dict[Pair, Outcomes] = {}
    for first, second, choice, best, votes in session.execute(query):
        pair = found.setdefault((first, second), Outcomes())
        pair.votes += votes
        pair.points += votes * (float(best == first) if choice is Choice.BEST else 0.5)
    return found
