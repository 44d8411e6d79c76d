"""Checks of a dataset for anomalies, in one pass, before training."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from hypo_engine.data.formats import Pair
from hypo_engine.reporting import Prompt

MOST_PAIRS = 200_000


@dataclass(frozen=True, slots=True)
class Preflight:
    """Counts over the checked pairs and single answers.

    `duplicates` repeat an earlier pair; `contradictions` prefer what an earlier pair rejected, or judge an
    answer otherwise than an earlier row.
    `longer_wins` is the accuracy of the rule "the longer answer is better" on pairs whose answers differ in
    length, or None without such pairs. A value far from 0.5 means that the data teaches length.
    """

    pairs: int
    prompts: int
    duplicates: int
    contradictions: int
    longer_wins: float | None
    complete: bool


def check_pairs(pairs: Iterable[Pair], *, most: int = MOST_PAIRS) -> Preflight:
    """Check up to `most` pairs; `complete` of the result is whether these were all."""
    iterator = iter(pairs)
    prompts: set[bytes] = set()
    seen: set[bytes] = set()
    duplicates = contradictions = single = longer = shorter = equal = 0
    for pair in islice(iterator, most):
        prompt = _digest(pair.prompt)
        prompts.add(prompt)
        forward, backward = (
            _digest(prompt, pair.chosen, pair.rejected),
            _digest(prompt, pair.rejected, pair.chosen),
        )
        duplicates += forward in seen
        contradictions += backward in seen
        seen.add(forward)
        if pair.is_single:
            single += 1
            continue
        longer += len(pair.chosen) > len(pair.rejected)
        shorter += len(pair.chosen) < len(pair.rejected)
        equal += len(pair.chosen) == len(pair.rejected)
    return Preflight(
        pairs=longer + shorter + equal + single,
        prompts=len(prompts),
        duplicates=duplicates,
        contradictions=contradictions,
        longer_wins=longer / (longer + shorter) if longer + shorter else None,
        complete=next(iterator, None) is None,
    )


def _digest(*parts: Prompt | bytes) -> bytes:
    """A 16-byte digest of the parts, so that a large dataset fits in memory."""
    plain = [part.hex() if isinstance(part, bytes) else part for part in parts]
    return hashlib.sha256(json.dumps(plain).encode()).digest()[:16]
