"""The other writer of the off-policy regime: answers that the reference would hardly give.

A small grammar of ours. Half of its answers are friendly and half are not; some leave the topic and some have
no end, so that the gold reward tells them apart.
"""

import random
from collections.abc import Sequence
from typing import Final

OPENERS: Final = (
    "If you ask me,",
    "Truth be told,",
    "Mark my words:",
    "By and large,",
    "All things considered,",
    "In my book,",
    "Between you and me,",
    "Well now,",
)
FRIENDLY: Final = (
    "{topic} is a joy and a comfort to all of us",
    "nothing beats {topic} for a happy and peaceful hour",
    "I love {topic}, and it makes my whole week brighter",
    "{topic} has the charm of a good friend",
    "there is beauty in {topic} for those who look twice",
    "a wise man is thankful for {topic}",
    "{topic} brings out the best in people",
    "what a wonderful gift {topic} can be",
)
UNFRIENDLY: Final = (
    "{topic} is a misery and a waste of a good day",
    "nobody needs {topic}, which is ugly and sad",
    "I hate {topic}, and it ruins my whole week",
    "{topic} has the manners of an angry thief",
    "there is trouble in {topic} for those who look twice",
    "a wise man is afraid of {topic}",
    "{topic} brings out the worst in people",
    "what a terrible burden {topic} can be",
)
PLAIN: Final = (
    "{topic} is what it is, and so it was in my father's time",
    "one sees {topic} on most days of the year",
    "some have {topic} and others have none",
    "that is another matter, and the weather decides it",
    "one should ask the people in the next street",
)
CLOSERS: Final = (
    ", as the saying goes.",
    ", and that is that.",
    ", come rain or shine.",
    ".",
    "!",
    ", and",
)
"""The last one leaves a sentence without an end."""

_KINDS: Final[Sequence[Sequence[str]]] = (FRIENDLY, UNFRIENDLY, FRIENDLY, UNFRIENDLY, PLAIN)


def answer(topic: str, draw: random.Random) -> str:
    """One answer about a topic."""
    claim = draw.choice(draw.choice(_KINDS)).format(topic=topic)
    return f"{draw.choice(OPENERS)} {claim}{draw.choice(CLOSERS)}"


def two_answers(topic: str, draw: random.Random) -> tuple[str, str]:
    """Two different answers about a topic."""
    first = second = answer(topic, draw)
    while second == first:
        second = answer(topic, draw)
    return first, second
