"""A ranking as CSV: every table with counts and intervals, and names that no spreadsheet runs."""

import csv

import pytest

from app import board_csv
from app.board import Model
from app.board_csv import BoardTable
from app.ranking import Ranking
from tests.app.ui.test_ranking import found_among


def rows_of(found: Ranking, table: BoardTable) -> list[dict[str, str]]:
    text = b"".join(board_csv.pieces(found, table)).decode()
    return list(csv.DictReader(text.splitlines()))


def test_the_ranking_has_strengths_intervals_and_votes() -> None:
    found = found_among(4)
    rows = rows_of(found, BoardTable.RANKING)
    best = found.order[0]
    assert [int(row["model_id"]) for row in rows] == [found.ids[at] for at in found.order]
    assert float(rows[0]["strength"]) == found.board.ratings[best].strength
    assert float(rows[0]["low"]) < float(rows[0]["strength"]) < float(rows[0]["high"])
    assert rows[0]["votes"] == str(3 * 40)


def test_the_matrix_has_a_row_for_each_cell() -> None:
    found = found_among(5, apart=True)
    rows = rows_of(found, BoardTable.MATRIX)
    assert len(rows) == 3 * 2 + 2
    cells = {(row["model_id"], row["against_id"]): row for row in rows}
    there, back = cells["1", "2"], cells["2", "1"]
    assert float(there["rate"]) == pytest.approx(1 - float(back["rate"]))
    assert float(there["low"]) == pytest.approx(1 - float(back["high"]))
    assert there["votes"] == back["votes"] == "40"


def test_win_rates_are_against_the_reference_alone() -> None:
    rows = rows_of(found_among(4, reference=2), BoardTable.AGAINST)
    assert {row["against_id"] for row in rows} == {"3"}
    assert sorted(row["model_id"] for row in rows) == ["1", "2", "4"]
    assert all(0 <= float(row["low_at_equal_length"]) <= float(row["rate_at_equal_length"]) for row in rows)
    assert rows_of(found_among(4, reference=None), BoardTable.AGAINST) == []


def test_an_interval_that_is_not_known_is_empty() -> None:
    few = found_among(3, prompts=4)
    for table in BoardTable:
        assert {(row["low"], row["high"]) for row in rows_of(few, table)} == {("", "")}
    assert {row["missing"] for row in rows_of(few, BoardTable.RANKING)} == {"few prompts"}


@pytest.mark.parametrize("table", BoardTable)
def test_no_spreadsheet_runs_a_name(table: BoardTable) -> None:
    found = found_among(3)
    models = [Model(f"=HYPERLINK({at})", "dpo", "@base", at, 1) for at in range(3)]
    bad = Ranking(found.ids, models, found.board, found.games, found.prompts, 0)
    rows = rows_of(bad, table)
    assert all(row["model"].startswith("'=") for row in rows)
    assert all(row.get("base_model", "'@base") == "'@base" for row in rows)
