"""Scorers that need no model: length, a regular expression, and VADER's sentiment."""

import re
from collections.abc import Sequence

from hypo_engine.errors import ConfigError
from hypo_engine.reporting import Prompt


class Length:
    """The number of words, times a weight."""

    def __init__(self, weight: float = 1.0) -> None:
        self._weight = weight

    def score(self, _prompts: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
        return [self._weight * len(answer.split()) for answer in answers]


class Pattern:
    """1 if a regular expression occurs in the answer, else 0."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)

    def score(self, _prompts: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
        return [float(self._pattern.search(answer) is not None) for answer in answers]


class Sentiment:
    """VADER's compound sentiment from -1 to 1 (Hutto and Gilbert, 2014), for English.

    It counts friendly words, so a text of nothing else scores near 1.
    """

    def __init__(self) -> None:
        """Raises ConfigError if the package is not installed."""
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ImportError as error:
            raise ConfigError(
                "reward vader needs the package vaderSentiment; run pip install 'hypo-studio[vader]'."
            ) from error
        self._analyzer = SentimentIntensityAnalyzer()

    def score(self, _prompts: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
        return [float(self._analyzer.polarity_scores(answer)["compound"]) for answer in answers]
