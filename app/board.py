"""Results of the votes: a record for each pair of models, with intervals, and the biases of the voters."""

import math
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from app.store import label_queries, vote_totals
from app.store.enums import Outcome
from app.store.models import Answerer
from app.store.vote_totals import PairCount

Z = 1.96
"""Quantile of the normal distribution for a two-sided 95% interval."""

PAGE_RECORDS = 25
"""Records on one page of the results."""


@dataclass(frozen=True, slots=True, order=True)
class Model:
    """A model that answered. A deleted run keeps only its name."""

    name: str
    method: str
    base_model: str
    run_id: int | None
    step: int | None


@dataclass(slots=True)
class Record:
    """The votes between two models. `wins` prefer `first`, `losses` prefer `second`."""

    first: Model
    second: Model
    wins: int = 0
    losses: int = 0
    ties: int = 0
    all_bad: int = 0

    @property
    def decided(self) -> int:
        return self.wins + self.losses

    @property
    def votes(self) -> int:
        return self.decided + self.ties + self.all_bad

    @property
    def win_rate(self) -> float | None:
        """Share of the decided votes that prefer `first`."""
        return self.wins / self.decided if self.decided else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(self.wins, self.decided) if self.decided else None

    @property
    def more_votes(self) -> int | None:
        """Estimated number of further decided votes that separate the two models at the present share.

        0 when they are separated already; None without decided votes, or at a share of exactly one half.
        """
        return votes_to_decide(self.wins, self.decided)


@dataclass(slots=True)
class Board:
    """Everything the results page shows above the list of votes.

    `hidden` counts votes on comparisons whose names the reader may not see yet. No other count includes them.
    """

    records: list[Record] = field(default_factory=list)
    record_count: int = 0
    votes: int = 0
    hidden: int = 0
    blind: int = 0
    first_side: int = 0
    longer: int = 0
    longer_of: int = 0
    two_sided: int = 0
    agreements: int = 0
    agreement_of: int = 0


def wilson(wins: float, votes: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share. It is valid for few votes and for shares near 0 and 1.

    Args:
        wins: a tie may count one half.
    """
    share = wins / votes
    middle = share + z * z / (2 * votes)
    half = z * math.sqrt(share * (1 - share) / votes + z * z / (4 * votes * votes))
    scale = 1 + z * z / votes
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def votes_to_decide(wins: int, votes: int) -> int | None:
    """Estimated number of further votes at the same share that put one half outside Wilson's interval.

    One half is on the edge of the interval when n (2p - 1)^2 = z^2, whatever the variance at p.
    """
    if votes == 0 or 2 * wins == votes:
        return None
    needed = math.ceil(Z * Z / (2 * wins / votes - 1) ** 2)
    return max(0, needed - votes)


def read_board(
    *, session: Session, limit: int = PAGE_RECORDS, offset: int = 0, viewer: str | None = None
) -> Board:
    """The totals of all votes and one page of records, those with the most votes first.

    In a vote among more than two answers, the best beats all others and all others beat the worst.

    Args:
        viewer: the user who reads it. Votes whose names this user may not see yet are left out, because a
            count of few votes would reveal the names.
    """
    hidden = 0 if viewer is None else label_queries.count_hidden(viewer, session=session)
    who = viewer if hidden else None
    totals = vote_totals.totals(session=session, viewer=who)
    agreements, agreement_of = vote_totals.agreement(session=session, viewer=who)
    pairs, met = vote_totals.pairs(session=session, limit=limit, offset=offset, viewer=who)
    return Board(
        records=[_record(pair) for pair in pairs],
        record_count=met,
        votes=totals.votes,
        hidden=hidden,
        blind=totals.blind,
        first_side=totals.first_side,
        two_sided=totals.two_sided,
        longer=totals.longer,
        longer_of=totals.longer_of,
        agreements=agreements,
        agreement_of=agreement_of,
    )


def read_records(
    *, session: Session, limit: int = PAGE_RECORDS, offset: int = 0, viewer: str | None = None
) -> tuple[list[Record], int]:
    """One page of records, as in `read_board`, and the number of all records."""
    hidden = 0 if viewer is None else label_queries.count_hidden(viewer, session=session)
    who = viewer if hidden else None
    pairs, met = vote_totals.pairs(session=session, limit=limit, offset=offset, viewer=who)
    return [_record(pair) for pair in pairs], met


def _record(pair: PairCount) -> Record:
    counts = pair.outcomes
    return Record(
        model_of(pair.first),
        model_of(pair.second),
        wins=counts.get(Outcome.FIRST, 0),
        losses=counts.get(Outcome.SECOND, 0),
        ties=counts.get(Outcome.TIE, 0),
        all_bad=counts.get(Outcome.ALL_BAD, 0),
    )


def model_of(answerer: Answerer) -> Model:
    """The model of a stored answerer."""
    step = None if answerer.run_id is None else answerer.step
    return Model(answerer.name, answerer.method, answerer.base_model, answerer.run_id, step)
