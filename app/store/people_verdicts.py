"""People's votes on a campaign by pair of answers, as verdicts of judges are stored."""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.enums import Outcome
from app.store.judges import Pair
from app.store.models import Comparison, Generation, Label
from app.store.vote_rules import outcome_of


class PersonVerdict(NamedTuple):
    """A person's vote for two answers. Both bad is a tie, as in the ranking."""

    pair: Pair
    user_id: int
    outcome: Outcome


def of_campaign(campaign_id: int, *, session: Session) -> Iterator[PersonVerdict]:
    """All votes of a campaign. A vote among more than two answers decides several pairs."""
    positions: dict[int, int] = {
        answer_id: position or 0
        for answer_id, position in session.execute(
            select(Generation.id, Generation.position)
            .join(Comparison, Generation.comparison_id == Comparison.id)
            .where(Comparison.campaign_id == campaign_id)
        )
    }
    query = (
        select(
            func.coalesce(Comparison.source_id, Comparison.id),
            Label.user_id,
            Label.choice,
            Label.best_id,
            Label.worst_id,
            Label.shown,
        )
        .join(Comparison, Label.comparison_id == Comparison.id)
        .where(Comparison.campaign_id == campaign_id)
        .order_by(Label.id)
    )
    for source_id, user_id, choice, best_id, worst_id, shown in session.execute(query):
        for one, other in combinations(sorted(shown, key=positions.__getitem__), 2):
            outcome = outcome_of(choice, best_id, worst_id, one, other)
            if outcome is not None:
                decided = Outcome.TIE if outcome is Outcome.ALL_BAD else outcome
                yield PersonVerdict(Pair(source_id, positions[one], positions[other]), user_id, decided)
