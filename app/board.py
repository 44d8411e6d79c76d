"""What the votes say: a record for each two models, with intervals, and the biases of the voters."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from app.store.enums import Choice
from app.store.labels import Side, Vote

Z = 1.96
"""Two-sided 95%."""


@dataclass(frozen=True, slots=True, order=True)
class Model:
    """Who answered. Of a deleted run only the name is left."""

    name: str
    method: str
    base_model: str
    run_id: int | None
    step: int | None


@dataclass(slots=True)
class Record:
    """How two models did against each other; wins are votes that prefer one answer."""

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
        """About how many more decided votes would tell the two apart if the share stays as it is.

        0 when they are told apart already; None when no number would, or nothing is known.
        """
        return votes_to_decide(self.wins, self.decided)


@dataclass(slots=True)
class Board:
    """Everything the results page shows above the list."""

    records: list[Record] = field(default_factory=list)
    votes: int = 0
    blind: int = 0
    first_side: int = 0
    longer: int = 0
    longer_of: int = 0
    two_sided: int = 0
    agreements: int = 0
    agreement_of: int = 0


def wilson(wins: int, votes: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share, which holds for few votes and for shares near 0 and 1."""
    share = wins / votes
    middle = share + z * z / (2 * votes)
    half = z * math.sqrt(share * (1 - share) / votes + z * z / (4 * votes * votes))
    scale = 1 + z * z / votes
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def votes_to_decide(wins: int, votes: int) -> int | None:
    """About how many more votes at the same share put one half outside Wilson's interval.

    One half lies on the edge of the interval when n (2p - 1)^2 = z^2, whatever the variance at p.
    """
    if votes == 0 or 2 * wins == votes:
        return None
    needed = math.ceil(Z * Z / (2 * wins / votes - 1) ** 2)
    return max(0, needed - votes)


def tally(votes: Iterable[Vote]) -> Board:
    """Count votes into a board; records with the most votes come first.

    A vote among more than two says that the best beats all others and that all others beat the worst.
    """
    board = Board()
    records: dict[tuple[Model, Model], Record] = {}
    opinions: dict[int, list[tuple[Choice, int | None, int | None]]] = defaultdict(list)
    for vote in votes:
        label = vote.label
        board.votes += 1
        board.blind += label.blind
        opinions[label.comparison_id].append((label.choice, label.best_id, label.worst_id))
        _count_biases(board, vote)
        for one, other in combinations(vote.sides, 2):
            _count_pair(records, vote, one, other)
    for said in opinions.values():
        for one_opinion, other_opinion in combinations(said, 2):
            board.agreement_of += 1
            board.agreements += one_opinion == other_opinion
    board.records = sorted(records.values(), key=lambda record: (-record.votes, record.first.name))
    return board


def _count_biases(board: Board, vote: Vote) -> None:
    best, worst = vote.best, vote.worst
    if best is None or worst is None:
        return
    if len(vote.sides) == 2:
        board.two_sided += 1
        board.first_side += best is vote.sides[0]
    if len(best.answer.text) != len(worst.answer.text):
        board.longer_of += 1
        board.longer += len(best.answer.text) > len(worst.answer.text)


def _count_pair(records: dict[tuple[Model, Model], Record], vote: Vote, one: Side, other: Side) -> None:
    first, second = _model(one), _model(other)
    if first == second:
        return
    if _rank(second) < _rank(first):
        first, second, one, other = second, first, other, one
    record = records.setdefault((first, second), Record(first, second))
    if vote.label.choice is Choice.TIE:
        record.ties += 1
    elif vote.label.choice is Choice.ALL_BAD:
        record.all_bad += 1
    elif one is vote.best or other is vote.worst:
        record.wins += 1
    elif other is vote.best or one is vote.worst:
        record.losses += 1


def _model(side: Side) -> Model:
    contender = side.contender
    return Model(contender.name, contender.method, contender.base_model, contender.run_id, side.step)


def _rank(model: Model) -> tuple[int, str, int, int, str]:
    """HyPO stands left of DPO, and both of the reference, so that a rate reads the same way everywhere."""
    order = {"hypo": 0, "dpo": 1, "reference": 3}.get(model.method, 2)
    return order, model.name, model.run_id or 0, model.step or 0, model.base_model
