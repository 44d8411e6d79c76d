"""Reads votes for an export, in short transactions, so that a slow reader of the file keeps none open."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from app import answers
from app.store import label_batches
from app.store.db import read_session
from app.store.label_batches import Verdict
from app.store.label_queries import VoteFilter
from app.store.vote_details import Vote

VERDICTS_A_BATCH = 1000
VOTES_A_BATCH = 200


def verdicts(only: VoteFilter | None, _viewer: str | None) -> Iterator[Verdict]:
    """Yield the verdicts of all votes, oldest first, and then the adjudicated ones if they are wanted."""
    last = 0
    while True:
        with read_session() as session:
            found = label_batches.verdicts_after(last, session=session, only=only, limit=VERDICTS_A_BATCH)
        yield from found
        if not found:
            break
        last = found[-1].label_id
    yield from _adjudicated(only)


def _adjudicated(only: VoteFilter | None) -> list[Verdict]:
    """The adjudicated verdicts that take the place of the votes on their comparisons."""
    if only is None or not only.adjudicated or only.campaign_id is None:
        return []
    with read_session() as session:
        return label_batches.adjudicated(only.campaign_id, session=session)


def votes(only: VoteFilter | None, viewer: str | None) -> Iterator[Vote]:
    """Yield all votes, oldest first. The names of a batch are recorded as shown before it is yielded."""
    last = 0
    while True:
        with read_session() as session:
            found = label_batches.after(last, session=session, only=only, viewer=viewer, limit=VOTES_A_BATCH)
        _record(found, viewer)
        yield from found
        if not found:
            return
        last = found[-1].label.id


def nameless_votes(only: VoteFilter | None, _viewer: str | None) -> Iterator[Vote]:
    """Yield all votes for rows that tell no names, so that nothing is hidden or recorded."""
    return votes(only, None)


def verdicts_by_comparison(only: VoteFilter | None, _viewer: str | None) -> Iterator[list[Verdict]]:
    """Yield the verdicts on each comparison, by ascending id, and then the adjudicated ones if wanted."""
    for ids in _comparisons(only, None):
        with read_session() as session:
            found = label_batches.verdicts_on(ids, session=session, only=only)
        yield from (list(group) for _, group in groupby(found, key=lambda verdict: verdict.comparison_id))
    yield from ([verdict] for verdict in _adjudicated(only))


def votes_by_comparison(only: VoteFilter | None, viewer: str | None) -> Iterator[list[Vote]]:
    """Yield the votes on each comparison, by ascending id of the comparison, and record names as shown."""
    for ids in _comparisons(only, viewer):
        with read_session() as session:
            found = label_batches.on(ids, session=session, only=only, viewer=viewer)
        _record(found, viewer)
        yield from (list(group) for _, group in groupby(found, key=lambda vote: vote.comparison.id))


def _comparisons(only: VoteFilter | None, viewer: str | None) -> Iterator[Sequence[int]]:
    last = 0
    while True:
        with read_session() as session:
            found = label_batches.comparisons_after(
                last, session=session, only=only, viewer=viewer, limit=VOTES_A_BATCH
            )
        if not found:
            return
        yield found
        last = found[-1]


def _record(found: Sequence[Vote], viewer: str | None) -> None:
    if viewer is not None:
        answers.record_shown(found, user=viewer)
