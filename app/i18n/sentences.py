"""Sentences that were written in English below the pages: errors, and what workers store about a run.

Their code does not know for whom it writes. A catalogue holds each as a pattern, `No run has id {0}.`; a
sentence that fits a pattern is shown in the reader's language, with its values in their places.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from app.i18n.catalogue import catalogues
from app.i18n.language import DEFAULT, LATER, current

_PLACE: Final = re.compile(r"\{([0-9]+)\}")
_CHOICE: Final = re.compile(r"\{([0-9]+)\|([^}]*)\}")
"""In a translation: the word that fits the number in this place, `{0|запуск|запуска|запусков}`."""
_NEXT_SENTENCE: Final = re.compile(r"(?<=[.!?]) (?=[A-Z`])")
_INDEXED: Final = 4
_DEEPEST: Final = 3


def in_language(sentence: str) -> str:
    """A sentence of ours in the present language; any other text unchanged."""
    language = current()
    if language in (DEFAULT, LATER) or not sentence:
        return sentence
    return _told(sentence, language, _DEEPEST)


def _told(sentence: str, language: str, deeper: int) -> str:
    found = _patterns(language).match(sentence)
    if found is not None:
        text, values = found
        return _filled(text, [_told(value, language, deeper - 1) if deeper else value for value in values])
    parts = _NEXT_SENTENCE.split(sentence)
    return " ".join(_told(part, language, deeper) for part in parts) if len(parts) > 1 else sentence


def _filled(text: str, values: list[str]) -> str:
    chosen = _CHOICE.sub(lambda found: _form(values[int(found[1])], found[2].split("|")), text)
    return _PLACE.sub(lambda found: values[int(found[1])], chosen)


def _form(number: str, forms: list[str]) -> str:
    """The form of a Russian noun after a number: one of `запуск`, `запуска`, `запусков`."""
    digits = re.sub(r"\D", "", number) or "0"
    tens, ones = int(digits) % 100, int(digits) % 10
    if ones == 1 and tens != 11:
        return forms[0]
    return forms[1] if 2 <= ones <= 4 and not 12 <= tens <= 14 else forms[-1]


@dataclass(frozen=True, slots=True)
class _Patterns:
    """Translations by exact text, and by pattern under the first letters of the pattern."""

    exact: dict[str, str] = field(default_factory=dict)
    starting: dict[str, list[tuple[re.Pattern[str], str]]] = field(default_factory=lambda: defaultdict(list))

    def match(self, sentence: str) -> tuple[str, list[str]] | None:
        """The translation and the values of a sentence, None for one that is not ours."""
        if sentence in self.exact:
            return self.exact[sentence], []
        starts = [sentence[:length] for length in range(min(_INDEXED, len(sentence)), -1, -1)]
        for start in starts:
            for pattern, text in self.starting.get(start, ()):
                found = pattern.fullmatch(sentence)
                if found is not None:
                    return text, list(found.groups())
        return None


@lru_cache
def _patterns(language: str) -> _Patterns:
    known = _Patterns()
    for catalogue in catalogues(language).values():
        for message in catalogue:
            if not message.id or not isinstance(message.id, str) or not message.string:
                continue
            if _PLACE.search(message.id) is None:
                known.exact[message.id] = str(message.string)
                continue
            literal = _PLACE.split(message.id)[::2]
            pattern = re.compile("(.*?)".join(re.escape(part) for part in literal), re.DOTALL)
            known.starting[literal[0][:_INDEXED]].append((pattern, str(message.string)))
    for patterns in known.starting.values():
        patterns.sort(key=lambda one: -len(one[0].pattern))
    return known
