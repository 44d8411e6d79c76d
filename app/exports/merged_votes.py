"""Votes as `trl` rows, one for each comparison, with what all its voters say together."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from app.exports.counts import Counts
from app.exports.options import Options
from app.exports.trl_votes import TRL_SCHEMA, pair_row
from app.store import vote_rules
from app.store.enums import Outcome, WhyLeftOut
from app.store.label_batches import Verdict

MERGED_SCHEMA = pa.schema(
    [
        *TRL_SCHEMA,
        ("votes", pa.int64()),
        ("weight", pa.float64()),
        ("margin", pa.float64()),
        ("soft_label", pa.float64()),
    ]
)


def merged_rows(
    groups: Iterable[Sequence[Verdict]], counts: Counts, options: Options
) -> Iterator[dict[str, Any]]:
    """One pair for each comparison.

    The pair is the best and the worst answer that most votes name. Every vote then says which of the two is
    better, or that neither is. `soft_label` is the share of votes for `chosen`, half of the undecided ones
    included, `margin` is 2 * soft_label - 1, and `weight` the number of votes that say anything about the
    two. A comparison whose votes balance is left out as a tie.

    Args:
        groups: the votes on one comparison each.
    """
    for verdicts in groups:
        named = Counter(
            (v.best.id, v.worst.id) for v in verdicts if v.best is not None and v.worst is not None
        )
        if not named:
            why = [vote_rules.why_left_out(v.choice, v.best, v.worst) for v in verdicts]
            counts.left_out[Counter(filter(None, why)).most_common(1)[0][0]] += 1
            continue
        row = _row(verdicts, named.most_common(1)[0][0], counts, options)
        if row is not None:
            yield row


def _row(
    verdicts: Sequence[Verdict], pair: tuple[int, int], counts: Counts, options: Options
) -> dict[str, Any] | None:
    outcomes = Counter(_outcome(verdict, *pair) for verdict in verdicts)
    heard = len(verdicts) - outcomes[None]
    soft = (outcomes[Outcome.FIRST] + (outcomes[Outcome.TIE] + outcomes[Outcome.ALL_BAD]) / 2) / heard
    if soft < 0.5:  # with more than two answers, most votes may name a pair that others contradict
        pair, soft = (pair[1], pair[0]), 1 - soft
    known = {answer.id: answer for v in verdicts for answer in (v.best, v.worst) if answer is not None}
    chosen, rejected = known[pair[0]], known[pair[1]]
    source = next(v for v in verdicts if v.best is not None and v.best.id in pair)
    why = WhyLeftOut.TIE if soft == 0.5 else vote_rules.why_left_out(source.choice, chosen, rejected)
    if why is not None:
        counts.left_out[why] += 1
        return None
    cut = not (chosen.complete and rejected.complete)
    if not counts.takes(cut=cut, leave_out_cut=options.leave_out_cut):
        return None
    return {
        **pair_row(source.prompt, chosen, rejected),
        "votes": len(verdicts),
        "weight": float(heard),
        "margin": 2 * soft - 1,
        "soft_label": soft,
    }


def _outcome(verdict: Verdict, one: int, other: int) -> Outcome | None:
    best, worst = (None if answer is None else answer.id for answer in (verdict.best, verdict.worst))
    return vote_rules.outcome_of(verdict.choice, best, worst, one, other)
