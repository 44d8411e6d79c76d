"""The answers of votes for "both bad" as rows with one answer, which KTO trains on beside the pairs."""

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import replace

from app.exports import reading
from app.exports.counts import Counts
from app.exports.kto_votes import kto_rows
from app.exports.options import Options
from app.store.enums import Choice
from app.store.label_queries import VoteFilter
from hypo_engine.data.formats import Pair


def bad_answers(
    only: VoteFilter | None, options: Options, *, without: Container[int]
) -> Iterator[tuple[int, Pair]]:
    """The comparison of each row, and the row. Merged, an answer has one row, whose weight counts its votes.

    Args:
        without: comparisons whose votes became a pair.
    """
    if only is not None and only.choice not in (None, Choice.ALL_BAD):
        return
    votes = reading.nameless_votes(replace(only or VoteFilter(), choice=Choice.ALL_BAD), None)
    merged: Counter[tuple[int, str]] = Counter()
    rows: dict[tuple[int, str], Pair] = {}
    for vote in votes:
        place = vote.comparison.id
        if place in without:
            continue
        for row in kto_rows([vote], Counts(), options):
            pair = Pair(row["prompt"], "", row["completion"][0]["content"])
            if not options.merge:
                yield place, pair
                continue
            merged[place, pair.rejected] += 1
            rows[place, pair.rejected] = pair
    for key, weight in merged.items():
        yield key[0], replace(rows[key], weight=float(weight))
