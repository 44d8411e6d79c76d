"""What a person searches for: words, "phrases in quotes" and -words that must not occur.

The input is parsed here and becomes an expression of the database's own search by `fts5` or `tsquery`. None
of it reaches the database as syntax. A phrase is a sequence of words; case and punctuation do not matter.
"""

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, func

from app.errors import InvalidInput
from app.text import clean_text

MOST_CHARS: Final = 500
MOST_PARTS: Final = 20
_QUOTES: Final = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
_PART: Final = re.compile(r'(-?)"([^"]*)"?|([^\s"]+)')
_WORD: Final = re.compile(r"[^\W_]+")
PUNCTUATION: Final = (
    string.punctuation + "¡§«¶·»¿‐‑‒–—―‘’‚‛“”„‟†‡•…‰′″‹›、。〈〉《》「」『』【】〜！（），．：；？～"
)
"""What separates words besides white space. SQLite's tokenizer knows more of it by itself."""
_SPACES: Final = str.maketrans(dict.fromkeys(PUNCTUATION, " "))
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]$"
)
"""Ends in a script that puts no space between words, such as Chinese, Japanese or Thai."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words without punctuation that follow each other. With `prefix`, the last one may go on."""

    text: str
    prefix: bool = False

    @property
    def fts5(self) -> str:
        return f'"{self.text}"{" *" if self.prefix else ""}'

    @property
    def tsquery(self) -> ColumnElement[Any]:
        if not self.prefix:
            return func.phraseto_tsquery("simple", self.text)
        return func.to_tsquery("simple", f"'{self.text}':*")

    @property
    def pattern(self) -> str:
        """A regular expression that finds the phrase in a text."""
        words = r"[\W_]+".join(map(re.escape, _WORD.findall(self.text)))
        return rf"(?<![^\W_]){words}" + (r"[^\W_]*" if self.prefix else r"(?![^\W_])")


@dataclass(frozen=True, slots=True)
class Search:
    """The phrases that a text must have, at least one, and those that it must not have."""

    wanted: tuple[Phrase, ...]
    unwanted: tuple[Phrase, ...] = ()

    @property
    def fts5(self) -> str:
        """The expression for SQLite's MATCH."""
        wanted = " AND ".join(phrase.fts5 for phrase in self.wanted)
        return f"({wanted})" + "".join(f" NOT {phrase.fts5}" for phrase in self.unwanted)

    @property
    def tsquery(self) -> ColumnElement[Any]:
        """The expression for PostgreSQL's @@."""
        first, *others = self.wanted
        found = first.tsquery
        for phrase in others:
            found = func.tsquery_and(found, phrase.tsquery)
        for phrase in self.unwanted:
            found = func.tsquery_and(found, func.tsquery_not(phrase.tsquery))
        return found

    @property
    def pattern(self) -> re.Pattern[str]:
        """A regular expression that finds the wanted phrases in a text."""
        return re.compile("|".join(phrase.pattern for phrase in self.wanted), re.IGNORECASE)


def parse(text: str, *, field: str) -> Search | None:
    """Parse what a person typed; None if it is empty.

    Raises:
        InvalidInput: for a text without a letter or digit, with nothing to find, or that is too long.
    """
    text = clean_text(text).translate(_QUOTES).strip()
    if not text:
        return None
    if len(text) > MOST_CHARS:
        raise InvalidInput(
            f"{field} has more than {MOST_CHARS} characters; search for fewer words.", field=field
        )
    parts = list(_parts(text))
    if not parts:
        raise InvalidInput(
            f"{field} has no letter and no digit; signs and emoji are not searched.", field=field
        )
    if len(parts) > MOST_PARTS:
        raise InvalidInput(f"{field} has more than {MOST_PARTS} words; search for fewer.", field=field)
    wanted = tuple(phrase for unwanted, phrase in parts if not unwanted)
    if not wanted:
        raise InvalidInput(
            f"{field} only says what to leave out; add a word to find, as in: summer -rain.", field=field
        )
    return Search(wanted, tuple(phrase for unwanted, phrase in parts if unwanted))


def _parts(text: str) -> Iterator[tuple[bool, Phrase]]:
    """The phrases, each with whether it is unwanted; parts without a letter or digit are left out."""
    for minus, quoted, word in _PART.findall(text):
        unwanted = bool(minus) or (word.startswith("-") and len(word) > 1)
        found = quoted or word
        if _WORD.search(found):
            prefix = not quoted and (word.endswith("*") or bool(_UNSPACED.search(word)))
            yield unwanted, Phrase(" ".join(found.translate(_SPACES).split()), prefix)
