"""Sentences with places for values, `No run has id {0}.`, and what says the same in another language."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from babel.messages.catalog import Message

from app.i18n.catalogue import FOLDER, catalogues

_PLACE: Final = re.compile(r"\{([0-9]+)\}")
_CHOICE: Final = re.compile(r"\{([0-9]+)\|([^}]*)\}")
"""In a translation: the word that fits the number in this place, `{0|запуск|запуска|запусков}`."""
_NUMBERED: Final = re.compile(r"([0-9][0-9,]*)( .+)")
_NUMBERS: Final = re.compile(r"[0-9][0-9,. ]*")
_WORD: Final = re.compile(r"[A-Za-z]{2,}")
_INDEXED: Final = 4
_AND_MORE: Final = " and"
_WITH_WORDS: Final = ("app", "store", "worker")
"""Catalogues whose single words are parts of sentences, such as the states of runs."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What stands before, between and after the values of a sentence, and its translation.

    Attributes:
        short: the texts are no sentence by themselves, as in `run {0}`.
    """

    literals: tuple[str, ...]
    text: str
    short: bool = False

    @property
    def weight(self) -> int:
        """How much of a sentence is given; of two patterns that fit, the heavier is meant."""
        return sum(map(len, self.literals))

    def values(self, sentence: str) -> list[str] | None:
        """The values of a sentence, each as short as possible; None if it does not fit."""
        first, *between, last = self.literals
        place, end = len(first), len(sentence) - len(last)
        if end < place or not sentence.startswith(first) or not sentence.endswith(last):
            return None
        found = []
        for literal in between:
            at = sentence.find(literal, place, end)
            if at < 0:
                return None
            found.append(sentence[place:at])
            place = at + len(literal)
        return [*found, sentence[place:end]]

    def filled(self, values: list[str]) -> str:
        """The translation with these values."""
        chosen = _CHOICE.sub(lambda found: form(values[int(found[1])], found[2].split("|")), self.text)
        return _PLACE.sub(lambda found: values[int(found[1])], chosen)


def form(number: str, forms: list[str]) -> str:
    """The form of a Russian noun after a number: one of `запуск`, `запуска`, `запусков`."""
    if "." in number:
        return forms[1]
    digits = re.sub(r"\D", "", number) or "0"
    tens, ones = int(digits) % 100, int(digits) % 10
    if ones == 1 and tens != 11:
        return forms[0]
    return forms[1] if 2 <= ones <= 4 and not 12 <= tens <= 14 else forms[-1]


@dataclass(frozen=True, slots=True)
class Patterns:
    """Translations by whole text, and patterns under the letters with which they begin or, if none, end."""

    whole: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    counted: dict[str, list[str]] = field(default_factory=dict)
    beginning: dict[str, list[Pattern]] = field(default_factory=lambda: defaultdict(list))
    ending: dict[str, list[Pattern]] = field(default_factory=lambda: defaultdict(list))

    def match(self, text: str, *, nested: bool = False) -> tuple[Pattern, list[str]] | None:
        """What a text means, and its values; None for one that is not ours.

        Args:
            nested: whether the text is a value of another one. It may then be a name that someone gave, which
                means none of the labels of pages.
        """
        whole = (self.parts if nested else self.whole).get(text)
        if whole is not None:
            return Pattern((text,), whole), []
        number = _NUMBERED.fullmatch(text)
        if number is not None and number[2] in self.counted:
            forms = self.counted[number[2]]
            return Pattern(("", number[2]), form(number[1], forms).replace("{n}", "{0}")), [number[1]]
        best: tuple[Pattern, list[str]] | None = None
        for pattern in self._candidates(text):
            if best is None or pattern.weight > best[0].weight:
                values = pattern.values(text)
                if values is not None and (nested or not pattern.short or all(map(self._is_known, values))):
                    best = pattern, values
        return best

    def end_of(self, text: str) -> tuple[str, Pattern, list[str]] | None:
        """A list's end, such as ` and 3 more`, with what stands before it; None without such an end."""
        for pattern in self.beginning.get(_AND_MORE, ()):
            at = text.rfind(pattern.literals[0])
            values = pattern.values(text[at:]) if at > 0 else None
            if values is not None and all(map(_NUMBERS.fullmatch, values)):
                return text[:at], pattern, values
        return None

    def _is_known(self, value: str) -> bool:
        return not value or bool(_NUMBERS.fullmatch(value)) or self.match(value, nested=True) is not None

    def _candidates(self, text: str) -> Iterator[Pattern]:
        for length in range(min(_INDEXED, len(text)), 0, -1):
            yield from self.beginning.get(text[:length], ())
            yield from self.ending.get(text[-length:], ())
        yield from self.ending.get("", ())

    def add(self, message: Message, area: str) -> None:
        """Add a text of a catalogue."""
        strings = [message.string] if isinstance(message.string, str) else list(message.string or ())
        if not message.id or not all(strings):
            return
        if not isinstance(message.id, str):
            for text in message.id:
                self.counted[text.removeprefix("{n}")] = strings
        elif _PLACE.search(message.id) is None:
            self.whole[message.id] = strings[0]
            if _is_part(message.id, area):
                self.parts[message.id] = strings[0]
        else:
            literals = tuple(_PLACE.split(message.id)[::2])
            pattern = Pattern(literals, strings[0], len(_WORD.findall(" ".join(literals))) < 2)
            if literals[0]:
                self.beginning[literals[0][:_INDEXED]].append(pattern)
            else:
                self.ending[literals[-1][-_INDEXED:]].append(pattern)


def _is_part(text: str, area: str) -> bool:
    """Whether a text may stand within a sentence: it is no label of a page, which could be someone's name."""
    if (FOLDER.parent / "ui" / area).is_dir():
        return False
    return " " in text.strip() or (text[:1].islower() and area in _WITH_WORDS)


@lru_cache
def patterns(language: str) -> Patterns:
    """All patterns of a language."""
    known = Patterns()
    for area, catalogue in catalogues(language).items():
        for message in catalogue:
            known.add(message, area)
    return known
