"""Sanitizing of external input: text, and ids written as text."""

import re
import unicodedata
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


_JOINERS: Final = "\u200c\u200d"
"""Format characters that Persian, Hindi and emoji need within words."""
_BLANKS: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and symbols by category that show nothing."""


def unseen(text: str) -> str | None:
    """The first character of a line that shows nothing or alters its neighbours, as `U+202E`.

    These are control, format and unassigned characters, line separators, lone surrogates and blank letters.
    """
    for one in text:
        kind = unicodedata.category(one)
        if (
            one in _BLANKS
            or kind in ("Cc", "Cs", "Cn", "Co", "Zl", "Zp")
            or (kind == "Cf" and one not in _JOINERS)
        ):
            return f"U+{ord(one):04X}"
    return None


def read_id(text: str) -> int | None:
    """Parse an id; None for a text that is not a valid id."""
    text = text.strip()
    if not text.isdecimal() or len(text) > len(str(MAX_ID)):
        return None
    number = int(text)
    return number if 1 <= number <= MAX_ID else None
