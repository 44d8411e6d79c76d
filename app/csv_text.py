"""Text in our CSV files. A spreadsheet computes a cell that begins with one of `FORMULA_STARTS`.

Our exports put an apostrophe before such a cell, and before one that begins with an apostrophe, so that the
original text can be had again. Only a file that begins with `ESCAPED_COLUMNS` is read that way: in anybody
else's file an apostrophe belongs to the text.
"""

from typing import Final

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
ESCAPED_COLUMNS: Final = ["label_id", "comparison_id"]
"""The first columns of the raw export of votes."""

_APOSTROPHE = "'"


def escaped(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return _APOSTROPHE + text if text.startswith((*FORMULA_STARTS, _APOSTROPHE)) else text


def original(text: str) -> str:
    """The text that `escaped` was given."""
    return (
        text[1:] if text.startswith(tuple(_APOSTROPHE + s for s in (*FORMULA_STARTS, _APOSTROPHE))) else text
    )
