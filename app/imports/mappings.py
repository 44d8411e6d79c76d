"""Choice of how to read a file's rows: a known format or a mapping."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import InvalidInput
from app.imports.readers import NumberedRow
from app.imports.unpacked import bad_file
from hypo_engine.data.formats import AnyMapping, Format, RowError, WinnerMapping, detect, read_mapping
from hypo_engine.data.proposal import column_names, is_column, propose, values_of, wins_of
from hypo_engine.errors import DataError

GivenMapping = AnyMapping | Mapping[str, Any]
"""A mapping, or its plain values as accepted by `hypo_engine.data.mapping.read_mapping`."""


class UnknownFormat(InvalidInput):
    """The format is unknown. `columns` are the names to map, `proposal` is a first guess."""

    def __init__(self, columns: Sequence[str], proposal: Mapping[str, Any]) -> None:
        named = ", ".join(columns[:20]) or "none"
        guess = ",".join(f"{part}={column}" for part, column in proposal.items() if isinstance(column, str))
        super().__init__(
            "The format is not recognised. Name the columns of the prompt, the chosen and the "
            "rejected answer, or those of answers A and B and of the winner. The columns are: "
            f"{named}." + (f" Perhaps: {guess}." if guess else ""),
            field="mapping",
        )
        self.columns = list(columns)
        self.proposal = dict(proposal)


def rows_of(head: Sequence[NumberedRow]) -> list[object]:
    """Rows without their numbers."""
    return [row for _, row in head]


def how_to_read(head: Sequence[NumberedRow], mapping: GivenMapping | None) -> Format | AnyMapping:
    """The given mapping, completed from the rows, or the format detected in the rows.

    Raises:
        UnknownFormat: no mapping was given and no format is recognised.
        InvalidInput: the mapping does not fit the rows, or they cannot be used at all.
    """
    columns = column_names(rows_of(head))
    if not columns:
        raise no_columns(head)
    if mapping is not None:
        return _fitting(mapping, head, columns)
    known = detect(rows_of(head))
    if known is None:
        raise UnknownFormat(columns, propose(rows_of(head)))
    return known


def what_is_meant(how: Format | AnyMapping) -> list[str]:
    """Sentences on how the values of a winner's column were interpreted."""
    if not isinstance(how, WinnerMapping):
        return []
    wins = [f"{answer} where it is {' or '.join(values)}" for answer, values in how.meanings()]
    return [f"{how.winner} prefers {', '.join(wins)}."]


def _fitting(given: GivenMapping, head: Sequence[NumberedRow], columns: Sequence[str]) -> AnyMapping:
    try:
        if isinstance(given, Mapping):
            given = read_mapping(_completed(given, head))
    except DataError as error:
        raise InvalidInput(str(error), field="mapping") from error
    missing = [path for path in given.columns if not is_column(path, rows_of(head))]
    if missing:
        wanted, there = ", ".join(map(repr, missing)), ", ".join(columns[:20])
        raise InvalidInput(f"The file has no column {wanted}. Its columns are: {there}.", field="mapping")
    return given


def _completed(given: Mapping[str, Any], head: Sequence[NumberedRow]) -> Mapping[str, Any]:
    """Complete a winner mapping that omits the values for A and B, if the column's values are unambiguous.

    Raises:
        DataError: the values are ambiguous; the message names them.
    """
    a, b, winner = (given.get(name) for name in ("a", "b", "winner"))
    said = given.get("a_wins") or given.get("b_wins")
    if said or not (
        isinstance(a, str) and isinstance(b, str) and isinstance(winner, str) and a and b and winner
    ):
        return given
    values = values_of(winner, rows_of(head))
    a_wins, b_wins = wins_of(values, (a, b), winner)
    if not a_wins or not b_wins:
        named = ", ".join(values) or "nothing"
        raise DataError(
            f"The mapping does not say which values of {winner} mean that A or B is better. "
            f"It holds: {named}."
        )
    return {**given, "a_wins": a_wins, "b_wins": b_wins}


def no_columns(head: Sequence[NumberedRow]) -> InvalidInput:
    """The error for rows without named columns, for which no mapping would help."""
    if not head:
        return bad_file("The file has no rows. Nothing was added.")
    if all(isinstance(row, list) for row in rows_of(head)):
        return bad_file(
            "The rows are lists of values without column names. Write objects; "
            'in pandas, with orient="records", lines=True.'
        )
    reasons = [f"row {number}: {row}" for number, row in head if isinstance(row, RowError)]
    return bad_file("The file holds no rows with named columns. " + "; ".join(reasons[:3]))
