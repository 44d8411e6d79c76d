"""What comes from outside, before anything looks at it: text, and ids written as text."""

import re
from typing import Final

MAX_ID: Final = 2**31 - 1
"""The largest id that every database keeps."""


def clean_text(text: str) -> str:
    """Text that databases and files can hold: without NUL, with a mark for each half of a character."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\x00", ""))


def read_id(text: str) -> int | None:
    """The id that a text names; None for what can be no id."""
    text = text.strip()
    if not text.isdecimal() or len(text) > len(str(MAX_ID)):
        return None
    number = int(text)
    return number if 1 <= number <= MAX_ID else None
