"""The study's prompts: 500 short ones about 250 topics, written for it. No two are alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from hypo_engine.data.formats import prompt_fraction

PROMPTS: Final = Path(__file__).with_name("prompts.txt")
"""A line for each prompt: its topic, a tab, its text."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the topic that an answer should name."""

    topic: str
    text: str

    @property
    def turns(self) -> list[dict[str, str]]:
        """The conversation up to the answer."""
        return [{"role": "user", "content": self.text}]


@lru_cache(maxsize=1)
def questions() -> tuple[Question, ...]:
    """All prompts, in the order of the file."""
    lines = PROMPTS.read_text(encoding="utf-8").splitlines()
    return tuple(Question(*line.split("\t")) for line in lines)


def some(count: int) -> list[Question]:
    """As many prompts, spread over the file."""
    every = questions()
    return [every[at * len(every) // count] for at in range(count)]


def held_out_share(of: Sequence[Question], count: int) -> float:
    """The share with which an import holds out exactly `count` of the prompts, by their hashes."""
    fractions = sorted(prompt_fraction(question.text) for question in of)
    return (fractions[count - 1] + fractions[count]) / 2


def is_held_out(question: Question, share: float) -> bool:
    """Whether an import with this share holds a prompt out."""
    return prompt_fraction(question.text) < share
