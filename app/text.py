"""Sanitizing of external input: text, and ids written as text."""

import re
from typing import Final

MAX_ID: Final = 2**31 - 1
"""The largest id that every supported database can store."""


def clean_text(text: str) -> str:
    """Remove NUL and replace lone surrogates, so that databases and files can store the text."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\x00", ""))


def clean_name(text: str) -> str:
    """Clean a name: one line, without control characters and bidirectional formatting characters."""
    spaced = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", clean_text(text))
    return " ".join(re.sub("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", spaced).split())


def read_id(text: str) -> int | None:
    """Parse an id; None for a text that is not a valid id."""
    text = text.strip()
    if not text.isdecimal() or len(text) > len(str(MAX_ID)):
        return None
    number = int(text)
    return number if 1 <= number <= MAX_ID else None
