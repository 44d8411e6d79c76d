"""Sentences that were written in English below the pages: errors, and what workers store about a run.

Their code does not know for whom it writes. A catalogue holds each as a pattern, `No run has id {0}.`; a
sentence that fits a pattern is shown in the reader's language, with its values in their places. A value may
itself be a part of a sentence. What fits no pattern stays as it is.
"""

import re
from functools import lru_cache
from typing import Final

from app.i18n.language import DEFAULT, LATER, current
from app.i18n.patterns import Pattern, Patterns, patterns

_NEXT_SENTENCE: Final = re.compile(r"(?<=[.!?]) (?=[A-Z0-9`“])")
_MOST_PARTS: Final = 12
"""A text of more sentences is none of ours."""
_DEEPEST: Final = 3


def in_language(sentence: str) -> str:
    """A sentence of ours in the present language; any other text unchanged."""
    language = current()
    if language in (DEFAULT, LATER) or not sentence:
        return sentence
    return _told(sentence, language)


@lru_cache(maxsize=2048)
def _told(sentence: str, language: str) -> str:
    known = patterns(language)
    if "\n" in sentence and not known.match(sentence):
        return "\n".join(_line(line, known, _DEEPEST) for line in sentence.split("\n"))
    return _line(sentence, known, _DEEPEST)


def _line(text: str, known: Patterns, deeper: int) -> str:
    """Sentences one after the other. A value seldom holds the end of a sentence, so such a fit comes last."""
    found = known.match(text, nested=deeper < _DEEPEST)
    if found and not any(map(_NEXT_SENTENCE.search, found[1])):
        return _with_values(*found, known, deeper)
    cut = None if found else known.end_of(text)
    if cut:
        head, end, values = cut
        return head + _with_values(end, values, known, deeper)
    parts = _NEXT_SENTENCE.split(text)
    if not 1 < len(parts) <= _MOST_PARTS:
        return _with_values(*found, known, deeper) if found else text
    told = _in_parts(parts, known, deeper)
    return _with_values(*found, known, deeper) if found and told == text else told


def _in_parts(parts: list[str], known: Patterns, deeper: int) -> str:
    """The sentences in turn, or several that fit one pattern together."""
    told, place = list[str](), 0
    while place < len(parts):
        for end in range(len(parts), place, -1):
            found = known.match(" ".join(parts[place:end]), nested=deeper < _DEEPEST)
            if found and not any(map(_NEXT_SENTENCE.search, found[1])):
                told.append(_with_values(*found, known, deeper))
                break
        else:
            end = place + 1
            told.append(parts[place])
        place = end
    return " ".join(told)


def _with_values(pattern: Pattern, values: list[str], known: Patterns, deeper: int) -> str:
    return pattern.filled([_line(value, known, deeper - 1) if deeper else value for value in values])
