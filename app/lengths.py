"""Token lengths of a dataset's pairs under a model's tokenizer, and the pairs that length limits keep.

As in the engine, a completion includes its end token. A prompt counts as text, without the few tokens that a
chat template adds. Large datasets are measured on an evenly spaced sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from app.errors import NotFound
from app.local_models import find_file
from app.settings import get_settings
from app.store import datasets
from app.store.db import read_session
from app.store.enums import Split
from app.tokens import load_counter

MOST_PAIRS: Final = 2000
"""Pairs measured per dataset. A share among them has a standard error of at most 1.1%."""


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """Tokens of training pairs, in the same order.

    Attributes:
        prompts: Tokens of each prompt, as text.
        completions: Tokens of the longer answer of each pair, with its end token.
        totals: Tokens of the prompt and both answers.
        pairs: Number of all training pairs, measured or not.
    """

    prompts: tuple[int, ...]
    completions: tuple[int, ...]
    totals: tuple[int, ...]
    pairs: int

    @property
    def complete(self) -> bool:
        """Whether every training pair was measured."""
        return len(self.prompts) == self.pairs

    def kept(self, max_completion: int) -> int:
        """Number of training pairs whose answers are short enough, extrapolated from a sample."""
        fits = sum(length <= max_completion for length in self.completions)
        return fits if self.complete else round(self.pairs * fits / len(self.completions))

    def trimmed(self, max_prompt: int) -> float:
        """Share of the prompts that are longer than the limit."""
        return sum(length > max_prompt for length in self.prompts) / len(self.prompts)

    def tokens_per_pair(self, max_prompt: int, max_completion: int) -> float | None:
        """Mean number of tokens that a step reads per kept pair; None if no pair is kept."""
        kept = [
            total - max(0, prompt - max_prompt)
            for prompt, completion, total in zip(self.prompts, self.completions, self.totals, strict=True)
            if completion <= max_completion
        ]
        return sum(kept) / len(kept) if kept else None


def quantile(values: Sequence[int], share: float) -> int:
    """The smallest of the values that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) + 0.999999) - 1))]


def token_lengths(dataset_id: int, model: str) -> TokenLengths | None:
    """Cached lengths of a dataset's training pairs; None without a local tokenizer or without pairs."""
    settings = get_settings()
    path = find_file(model, "tokenizer.json", settings)
    if path is None:
        return None
    try:
        with read_session() as session:
            made = datasets.get(dataset_id, session=session).created_at
        return _measured(settings.sqlalchemy_url, dataset_id, made, path, path.stat().st_mtime_ns)
    except (NotFound, OSError):
        return None


@lru_cache(maxsize=64)
def _measured(
    database: str, dataset_id: int, made: datetime, tokenizer: Path, written_at: int
) -> TokenLengths | None:
    """Cached, as datasets are immutable. ``database`` and ``made`` distinguish datasets with the same id."""
    counter = load_counter(tokenizer, written_at)
    if counter is None:
        return None
    with read_session() as session:
        train = datasets.split_counts(dataset_id, session=session).train
        sample = list(datasets.spread_pairs(dataset_id, session=session, split=Split.TRAIN, most=MOST_PAIRS))
    if not sample:
        return None
    prompts = counter.count_all([pair.prompt for pair in sample])
    chosen, rejected = (
        [count + bool(answer) for count, answer in zip(counter.count_all(answers), answers, strict=True)]
        for answers in ([pair.chosen for pair in sample], [pair.rejected for pair in sample])
    )
    return TokenLengths(
        tuple(prompts),
        tuple(map(max, chosen, rejected)),
        tuple(map(sum, zip(prompts, chosen, rejected, strict=True))),
        train,
    )
