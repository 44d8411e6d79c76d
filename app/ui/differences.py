"""The differences of two texts, word by word, as HTML."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from markupsafe import Markup

from app.ui.widgets import Html, escape, join

MOST_PAIRS: Final = 1_000_000
"""Words of one text times words of the other, up to which they are compared."""

_PARTS: Final = re.compile(r"([^\W_]+|[^\s\w]|_)(\s*)")
_ADDED: Final = Markup('<ins><span class="hy-sr">added: </span>{}</ins>{}')
_REMOVED: Final = Markup('<del><span class="hy-sr">removed: </span>{}</del>{}')

Parts = Sequence[tuple[str, str]]
"""Words and signs, each with the white space after it, which is not compared."""


def marked(before: str, after: str) -> Html | None:
    """The later text, with what was removed and added; None for texts too long to compare."""
    old, new = _PARTS.findall(before), _PARTS.findall(after)
    if len(old) * len(new) > MOST_PAIRS:
        return None
    pieces: list[Html] = []
    for kind, a, b, c, d in _codes(old, new):
        if kind == "equal":
            pieces.append(escape("".join(word + space for word, space in new[c:d])))
            continue
        pieces += [_marked(_REMOVED, old[a:b], between=" "), _marked(_ADDED, new[c:d])]
    return join(pieces)


def count(before: str, after: str) -> int | None:
    """The number of words and signs that differ: replaced, removed and added ones; None as for `marked`."""
    old, new = _PARTS.findall(before), _PARTS.findall(after)
    if len(old) * len(new) > MOST_PAIRS:
        return None
    return sum(max(b - a, d - c) for kind, a, b, c, d in _codes(old, new) if kind != "equal")


def _codes(old: Parts, new: Parts) -> Sequence[tuple[str, int, int, int, int]]:
    words = [word for word, _ in old], [word for word, _ in new]
    return SequenceMatcher(None, *words, autojunk=False).get_opcodes()


def _marked(mark: Markup, parts: Parts, *, between: str = "") -> Html:
    """Parts with a mark; the white space after the last one, or else `between`, is outside of it."""
    if not parts:
        return Markup("")
    text = "".join(word + space for word, space in parts)
    bare = text.rstrip()
    return mark.format(escape(bare), escape(text[len(bare) :] or between))
