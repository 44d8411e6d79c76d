"""Datasets that hold nothing out, or everything: what that means, and which share would part them."""

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
"""The largest share that an import takes."""

MOST_PAIRS: Final = 5000
"""Pairs looked at; a dataset with more has a prompt for every share that the form offers."""


MOST_KNOWN: Final = 10_000
"""Datasets of which the share is remembered."""


@dataclass(frozen=True, slots=True)
class Share:
    """A held-out share in hundredths, and how many of the pairs it would hold out."""

    share: float
    pairs: int


def least_share(pairs: Iterable[Pair]) -> Share | None:
    """The smallest share that holds a pair out and leaves one to train on; None where there is none.

    Which side a pair is on follows from its prompt alone, so pairs of one prompt cannot be parted.
    """
    fractions = sorted(prompt_fraction(pair.prompt) for pair in islice(pairs, MOST_PAIRS))
    if not fractions:
        return None
    share = math.floor(fractions[0] * 100 + 1) / 100
    held = sum(fraction < share for fraction in fractions)
    return Share(share, held) if share <= MOST_HELD_OUT and held < len(fractions) else None


def nothing_held_out(dataset: Dataset, *, session: Session) -> str | None:
    """A sentence for a dataset of which nothing is held out; None where something is."""
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
    """A sentence for a dataset of which all is held out; None where something is trained on."""
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
    """A sentence for a dataset with pairs on one side only, training or evaluation."""
    return nothing_to_train_on(dataset, session=session) or nothing_held_out(dataset, session=session)


_known: dict[tuple[str, int, datetime], Share | None] = {}


def _least_share(database: str, dataset: Dataset, session: Session) -> Share | None:
    """As :func:`least_share`, remembered: the pairs of a dataset never change."""
    key = (database, dataset.id, dataset.created_at)
    if key not in _known:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[key] = least_share(datasets.iter_pairs(dataset.id, session=session))
    return _known[key]
