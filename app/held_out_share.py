"""Messages for datasets that hold out no pairs or all of them, with a share that would split them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from sqlalchemy.orm import Session

from app.settings import get_settings
from app.store import datasets
from app.store.models import Dataset
from hypo_engine.data.formats import Pair, prompt_fraction

MOST_HELD_OUT: Final = 0.9
"""The largest share that an import accepts."""

MOST_PAIRS: Final = 5000
"""Pairs considered. A larger dataset can be split at every share that the form offers."""


MOST_KNOWN: Final = 10_000
"""Number of datasets whose share is cached."""


@dataclass(frozen=True, slots=True)
class Share:
    """A held-out share, rounded to hundredths, and the number of pairs it would hold out."""

    share: float
    pairs: int


def least_share(pairs: Iterable[Pair]) -> Share | None:
    """The smallest share that holds out a pair and leaves one to train on; None if there is none.

    A pair's split depends on its prompt alone, so pairs with the same prompt cannot be separated.
    """
    fractions = sorted(prompt_fraction(pair.prompt) for pair in islice(pairs, MOST_PAIRS))
    if not fractions:
        return None
    share = math.floor(fractions[0] * 100 + 1) / 100
    held = sum(fraction < share for fraction in fractions)
    return Share(share, held) if share <= MOST_HELD_OUT and held < len(fractions) else None


def nothing_held_out(dataset: Dataset, *, session: Session) -> str | None:
    """A sentence for a dataset without held-out pairs; None for any other."""
    counts = datasets.split_counts(dataset.id, session=session)
    if counts.held_out or not counts.train:
        return None
    what = "No pairs are held out, so no run on them can be evaluated on unseen pairs"
    if counts.voted:
        return f"{what}: the prompts that were held out have been voted on."
    if dataset.format == "votes":
        return f"{what}: all votes are trained on."
    found = _least_share(get_settings().sqlalchemy_url, dataset, session)
    if found is None:
        return f"{what}. No share would change that: there are too few prompts. Add pairs with other prompts."
    pairs = "some" if counts.train > MOST_PAIRS else f"{found.pairs:,} of {counts.train:,} pairs"
    return f"{what}. Added again with a held-out share of {found.share:g}, it would hold out {pairs}."


def nothing_to_train_on(dataset: Dataset, *, session: Session) -> str | None:
    """A sentence for a dataset without training pairs; None for any other."""
    counts = datasets.split_counts(dataset.id, session=session)
    if counts.train or not counts.held_out:
        return None
    found = _least_share(get_settings().sqlalchemy_url, dataset, session)
    share = f"{found.share:g}" if found else "0"
    return (
        "All pairs are held out, so there are none to train on. Add the file again with a "
        f"held-out share of {share}, or with pairs of other prompts."
    )


def one_sided(dataset: Dataset, *, session: Session) -> str | None:
    """A sentence for a dataset with only training or only held-out pairs; None for any other."""
    return nothing_to_train_on(dataset, session=session) or nothing_held_out(dataset, session=session)


_known: dict[tuple[str, int, datetime], Share | None] = {}


def _least_share(database: str, dataset: Dataset, session: Session) -> Share | None:
    """As :func:`least_share`, cached: the pairs of a dataset never change."""
    key = (database, dataset.id, dataset.created_at)
    if key not in _known:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[key] = least_share(datasets.iter_pairs(dataset.id, session=session))
    return _known[key]
