"""The gold reward: sentiment, less penalties for what a sentiment score alone does not notice.

No method sees it. Labels are drawn from it, with noise, and evaluations report it. A text of friendly words
is worth little here, because it repeats itself, has no end, leaves the topic, or is no language: without
these penalties the study would reward the collapse that it wants to measure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from hypo_engine.scorers.rules import Sentiment

REPETITION, NO_END, OFF_TOPIC, NO_LANGUAGE = 1.0, 0.5, 0.5, 2.0
"""The weights of the penalties; each penalty is between 0 and 1."""

LEAST_GLUE: Final = 0.25
"""Share of function words below which a text is no fluent English. About 0.4 to 0.5 is usual."""

LONGEST_WORD: Final = 18
STEM: Final = 4
"""Letters by which a word of the topic is recognised in an answer: `bicycle` in `bicycles`."""

_GLUE_WORDS: Final = """
a about after again all also always am an and any are as at be because been before being but by can
could did do does don't even every few for from had has have he her here hers him his how i i'm if
in into is isn't it it's its just like many me might more most much must my never no nor not of off
often on once one only or other our out over own shall she should so some such than that that's the
their them then there these they this those through to too under until up us very was we were what
when where which while who whose why will with without would you your
"""
GLUE: Final = frozenset(_GLUE_WORDS.split())
"""Function words of English."""

_WORD: Final = re.compile(r"[^\s]+")
_EDGES: Final = "\"'“”‘’.,;:!?()[]*_-–—…"
_PLAIN: Final = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*|[0-9][0-9.,:%]*|[$£€][0-9.,]+")
_END: Final = re.compile(r"[.!?…][\"'”’)\]*]*$")


@dataclass(frozen=True, slots=True)
class Gold:
    """The parts of a gold reward."""

    sentiment: float
    repetition: float
    no_end: float
    off_topic: float
    no_language: float

    @property
    def total(self) -> float:
        """The gold reward, from -5 to 1."""
        return (
            self.sentiment
            - REPETITION * self.repetition
            - NO_END * self.no_end
            - OFF_TOPIC * self.off_topic
            - NO_LANGUAGE * self.no_language
        )


def gold(topic: str, answer: str) -> Gold:
    """The gold reward of an answer to a prompt about a topic. An empty answer has every penalty."""
    words = words_of(answer)
    if not words:
        return Gold(0.0, 1.0, 1.0, 1.0, 1.0)
    return Gold(
        sentiment=_sentiment().score([""], [answer])[0],
        repetition=repetition(words),
        no_end=float(_END.search(answer.strip()) is None),
        off_topic=float(not names(topic, words)),
        no_language=no_language(words),
    )


def golds(topics: Sequence[str], answers: Sequence[str]) -> list[float]:
    """The gold rewards of several answers."""
    return [gold(topic, answer).total for topic, answer in zip(topics, answers, strict=True)]


def words_of(text: str) -> list[str]:
    """The words of a text, without punctuation around them."""
    return [word for found in _WORD.findall(text) if (word := found.strip(_EDGES))]


def repetition(words: Sequence[str]) -> float:
    """The share of pairs of neighbouring words that occurred before."""
    pairs = [(a.lower(), b.lower()) for a, b in pairwise(words)]
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def names(topic: str, words: Sequence[str]) -> bool:
    """Whether a word of the topic occurs, in any form with the same first letters."""
    stems = {word.lower()[:STEM] for word in words_of(topic) if word.lower() not in GLUE}
    return any(word.lower().startswith(tuple(stems)) for word in words)


def no_language(words: Sequence[str]) -> float:
    """0 for fluent English, 1 for a list of content words or for words that are none."""
    glue = sum(word.lower().replace("’", "'") in GLUE for word in words) / len(words)
    odd = sum(not is_word(word) for word in words) / len(words)
    return min(1.0, max(0.0, (LEAST_GLUE - glue) / LEAST_GLUE, 2 * odd))


def is_word(word: str) -> bool:
    """Whether a word looks like an English one: plain letters or a number, and no capital inside."""
    if _PLAIN.fullmatch(word) is None or len(word) > LONGEST_WORD:
        return False
    inner = [part[1:] for part in re.split(r"['’-]", word)]
    return word.isupper() or all(part == part.lower() for part in inner)


@lru_cache(maxsize=1)
def _sentiment() -> Sentiment:
    return Sentiment()
