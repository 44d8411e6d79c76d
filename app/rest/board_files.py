"""Tables of a ranking as downloads."""

from typing import Annotated

from fastapi import Query
from fastapi.responses import StreamingResponse

from app import board_csv
from app.board_csv import BoardTable
from app.ranking import Ranking
from app.rest.files import streamed

Table = Annotated[
    BoardTable,
    Query(
        description="ranking: a row for each model; matrix: for each cell of the win-rate matrix; against: "
        "win rates against the reference."
    ),
]


def sent_board(found: Ranking, table: BoardTable, board: str = "board") -> StreamingResponse:
    """The table as a CSV file, named as in `campaign-3-ranking.csv` for the board `campaign-3`."""
    name = board_csv.file_name(table, board)
    return streamed(board_csv.pieces(found, table), name, "text/csv; charset=utf-8")
