"""The tables of a ranking as CSV: exact values, with the number of votes and 95% intervals."""

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from app.csv_text import escaped, lines
from app.ranking import Ranking


class BoardTable(StrEnum):
    """`matrix` has a row for each cell of the win-rate matrix; `against` the win rates against a model."""

    RANKING = "ranking"
    MATRIX = "matrix"
    AGAINST = "against"


_MODEL: Final = ("model_id", "model", "method", "base_model", "run_id", "step")
COLUMNS: Final = {
    BoardTable.RANKING: ("rank", *_MODEL, "strength", "low", "high", "votes", "missing"),
    BoardTable.MATRIX: ("model_id", "model", "against_id", "against", "rate", "low", "high", "votes"),
    BoardTable.AGAINST: (
        *_MODEL,
        *("against_id", "against", "rate", "low", "high", "votes"),
        *("rate_at_equal_length", "low_at_equal_length", "high_at_equal_length"),
    ),
}


def pieces(ranking: Ranking, table: BoardTable) -> Iterator[bytes]:
    """The file in pieces. An interval that is not known yet is empty."""
    yield lines([COLUMNS[table]])
    order = [*ranking.order, *ranking.unrated]
    if table is BoardTable.MATRIX:
        for at in order:
            yield lines([_cell(ranking, at, other) for other in order if ranking.board.counts[at, other]])
        return
    row = _rated if table is BoardTable.RANKING else _against
    yield lines([cells for at in order if (cells := row(ranking, at)) is not None])


def file_name(table: BoardTable, board: str = "board") -> str:
    """The name of the file, as in `campaign-3-ranking.csv` for the board `campaign-3`."""
    return f"{board}-{table.value}.csv"


def _model(ranking: Ranking, at: int) -> list[object]:
    model = ranking.models[at]
    texts = map(escaped, (ranking.names[at], model.method, model.base_model))
    return [ranking.ids[at], *texts, model.run_id, model.step]


def _named(ranking: Ranking, at: int) -> list[object]:
    return [ranking.ids[at], escaped(ranking.names[at])]


def _rated(ranking: Ranking, at: int) -> list[object]:
    rating = ranking.board.ratings[at]
    bounds = _exact(rating.strength), _exact(rating.low), _exact(rating.high)
    missing = None if rating.missing is None else rating.missing.value
    return [ranking.rank(at), *_model(ranking, at), *bounds, rating.games, missing]


def _cell(ranking: Ranking, row: int, column: int) -> list[object]:
    board = ranking.board
    rates = (board.rates[row, column], board.rates_low[row, column], board.rates_high[row, column])
    models = [*_named(ranking, row), *_named(ranking, column)]
    return [*models, *map(_exact, rates), int(board.counts[row, column])]


def _against(ranking: Ranking, at: int) -> list[object] | None:
    """The row of a model that met the reference."""
    rate, reference = ranking.board.against[at], ranking.board.reference
    if rate is None or reference is None:
        return None
    plain = [_exact(rate.rate), _exact(rate.low), _exact(rate.high), rate.games]
    controlled = [_exact(rate.controlled), _exact(rate.controlled_low), _exact(rate.controlled_high)]
    return [*_model(ranking, at), *_named(ranking, reference), *plain, *controlled]


def _exact(value: float | None) -> str:
    """All digits of a number; nothing for one that is not known."""
    return "" if value is None or math.isnan(value) else repr(float(value))
