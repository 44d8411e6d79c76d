"""Escape text in our CSV files. A spreadsheet runs a cell that begins with one of `FORMULA_STARTS`.

Our exports put an apostrophe before such a cell, and before one that begins with an apostrophe, so the
original text can be restored. Only a file that begins with `ESCAPED_COLUMNS` is unescaped: in any other file
an apostrophe is part of the text.
"""

import csv
import io
from collections.abc import Sequence
from typing import Final

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
ESCAPED_COLUMNS: Final = ["label_id", "comparison_id"]
"""The first columns of the raw export of votes."""

_APOSTROPHE = "'"


def escaped(text: str) -> str:
    """Escape a text so that no spreadsheet runs it as a formula."""
    return _APOSTROPHE + text if text.startswith((*FORMULA_STARTS, _APOSTROPHE)) else text


def original(text: str) -> str:
    """Undo `escaped`."""
    return (
        text[1:] if text.startswith(tuple(_APOSTROPHE + s for s in (*FORMULA_STARTS, _APOSTROPHE))) else text
    )


def lines(rows: Sequence[Sequence[object]]) -> bytes:
    """Rows of a CSV file. Texts that people wrote are escaped before."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
