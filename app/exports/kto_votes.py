"""Votes as `kto` rows: prompt, completion, and whether it is desirable (Ethayarajh et al., arXiv 2402.01306).

A vote for an answer makes it desirable and the worst one undesirable. "Both bad" makes all answers
undesirable. Each answer keeps its own prompt, so the answers may continue different conversations.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from app.exports.counts import Counts
from app.exports.options import Options
from app.exports.trl_votes import MESSAGES, messages_of, said
from app.store.enums import Choice, GenerationStatus, WhyLeftOut
from app.store.models import Generation
from app.store.vote_details import Vote

KTO_SCHEMA = pa.schema(
    [
        ("prompt", MESSAGES),
        ("completion", MESSAGES),
        ("label", pa.bool_()),
        ("completion_cut", pa.bool_()),
    ]
)


def kto_rows(votes: Iterable[Vote], counts: Counts, options: Options) -> Iterator[dict[str, Any]]:
    """The judged answers. A vote that judges none is counted once, as is each answer without a row."""
    for vote in votes:
        judged = _judged(vote)
        if isinstance(judged, WhyLeftOut):
            counts.left_out[judged] += 1
            continue
        for answer, desirable in judged:
            why = _why_left_out(answer)
            if why is not None:
                counts.left_out[why] += 1
            elif counts.takes(cut=not answer.complete, leave_out_cut=options.leave_out_cut):
                yield {
                    "prompt": messages_of(answer.prompt.content),
                    "completion": said(answer.text),
                    "label": desirable,
                    "completion_cut": not answer.complete,
                }


def _judged(vote: Vote) -> list[tuple[Generation, bool]] | WhyLeftOut:
    """The answers that a vote judges, each with its verdict."""
    if vote.label.choice is Choice.TIE:
        return WhyLeftOut.TIE
    if vote.label.choice is Choice.ALL_BAD:
        return [(side.answer, False) for side in vote.sides]
    best, worst = vote.best, vote.worst
    if best is None or worst is None:
        return WhyLeftOut.UNFINISHED
    if best.answer.text.strip() == worst.answer.text.strip():
        return WhyLeftOut.SAME_TEXT
    return [(best.answer, True), (worst.answer, False)]


def _why_left_out(answer: Generation) -> WhyLeftOut | None:
    if answer.status is not GenerationStatus.FINISHED:
        return WhyLeftOut.UNFINISHED
    return None if answer.text.strip() else WhyLeftOut.EMPTY
