"""What comes from outside, before anything looks at it: text, and ids written as text."""

import re
from typing import Final

MAX_ID: Final = 2**31 - 1
"""The largest id that every database keeps."""


def clean_text(text: str) -> str:
    """Text that databases and files can hold: without NUL, with a mark for each half of a character."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\x00", ""))


def clean_name(text: str) -> str:
    """A name on one line, without control characters and without those that turn the direction of text."""
    spaced = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", clean_text(text))
    return " ".join(re.sub("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", spaced).split())


def read_id(text: str) -> int | None:
    """The id that a text names; None for what can be no id."""
    text = text.strip()
    if not text.isdecimal() or len(text) > len(str(MAX_ID)):
        return None
    number = int(text)
    return number if 1 <= number <= MAX_ID else None
