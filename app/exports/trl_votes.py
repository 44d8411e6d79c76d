"""Votes as `trl` rows: prompt, chosen, rejected.

`trl` rows are always conversations, even for single questions: the answers were generated under the models'
chat templates, and trainers apply no template to a plain prompt. This also gives a file with both single
questions and longer conversations one type. `chosen_cut` and `rejected_cut` mark answers that were cut at the
length limit.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from app.exports.counts import Counts
from app.exports.options import Options
from app.store import vote_rules
from app.store.enums import WhyLeftOut
from app.store.label_batches import Verdict
from app.store.vote_rules import Answer

Message = dict[str, str]

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TRL_SCHEMA = pa.schema(
    [
        ("prompt", MESSAGES),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        ("chosen_cut", pa.bool_()),
        ("rejected_cut", pa.bool_()),
    ]
)


def trl_rows(verdicts: Iterable[Verdict], counts: Counts, options: Options) -> Iterator[dict[str, Any]]:
    """The pairs among votes, one for each. Among several answers: the best and the worst."""
    for verdict in verdicts:
        why = vote_rules.why_left_out(verdict.choice, verdict.best, verdict.worst)
        if why is not None or verdict.best is None or verdict.worst is None:
            counts.left_out[why or WhyLeftOut.ALL_BAD] += 1
            continue
        cut = not (verdict.best.complete and verdict.worst.complete)
        if counts.takes(cut=cut, leave_out_cut=options.leave_out_cut):
            yield pair_row(verdict.prompt, verdict.best, verdict.worst)


def pair_row(prompt: Any, chosen: Answer, rejected: Answer) -> dict[str, Any]:
    return {
        "prompt": messages_of(prompt),
        "chosen": said(chosen.text),
        "rejected": said(rejected.text),
        "chosen_cut": not chosen.complete,
        "rejected_cut": not rejected.complete,
    }


def said(text: str) -> list[Message]:
    """An answer as a message."""
    return [{"role": "assistant", "content": text}]


def messages_of(prompt: Any) -> list[Message]:
    """The conversation that an answer continues."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message["role"], "content": message["content"]} for message in prompt]
