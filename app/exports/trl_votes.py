"""Votes as `trl` rows: prompt, chosen, rejected.

`trl` rows are always conversations, even for single questions: the answers were generated under the models'
chat templates, and trainers apply no template to a plain prompt. This also gives a file with both single
questions and longer conversations one type. `chosen_cut` and `rejected_cut` mark answers that were cut at the
length limit.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from app.store import vote_rules
from app.store.enums import WhyLeftOut
from app.store.label_batches import Verdict

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


REASONS = {
    WhyLeftOut.TIE: "ties prefer neither answer",
    WhyLeftOut.ALL_BAD: "both bad prefers neither answer",
    WhyLeftOut.UNFINISHED: "an answer was stopped or failed before its end",
    WhyLeftOut.DIFFERENT_HISTORIES: "the answers continued different conversations, so they share no prompt",
    WhyLeftOut.SAME_TEXT: "the best and the worst answer are the same text",
    WhyLeftOut.EMPTY: "an answer is empty",
    WhyLeftOut.CUT: "an answer was cut at the length limit",
}


@dataclass(slots=True)
class TrlPairs:
    """The pairs among votes. Left-out and cut votes are counted while the rows are read."""

    leave_out_cut: bool = False
    rows: int = 0
    cut: int = 0
    left_out: Counter[WhyLeftOut] = field(default_factory=Counter)

    @property
    def counted(self) -> dict[str, int]:
        """The number of votes left out, by the name of the reason."""
        return {reason.value: self.left_out[reason] for reason in WhyLeftOut}

    def rows_of(self, verdicts: Iterable[Verdict]) -> Iterator[dict[str, Any]]:
        for verdict in verdicts:
            row = trl_row(verdict)
            if not isinstance(row, WhyLeftOut) and (row["chosen_cut"] or row["rejected_cut"]):
                if self.leave_out_cut:
                    row = WhyLeftOut.CUT
                else:
                    self.cut += 1
            if isinstance(row, WhyLeftOut):
                self.left_out[row] += 1
            else:
                self.rows += 1
                yield row


def trl_row(verdict: Verdict) -> dict[str, Any] | WhyLeftOut:
    """The pair of a vote, or the reason there is none. Among several answers: the best and the worst."""
    best, worst = verdict.best, verdict.worst
    why = vote_rules.why_left_out(verdict.choice, best, worst)
    if why is not None or best is None or worst is None:
        return why or WhyLeftOut.ALL_BAD
    return {
        "prompt": messages_of(verdict.prompt),
        "chosen": [{"role": "assistant", "content": best.text}],
        "rejected": [{"role": "assistant", "content": worst.text}],
        "chosen_cut": not best.complete,
        "rejected_cut": not worst.complete,
    }


def messages_of(prompt: Any) -> list[Message]:
    """The conversation that an answer continues."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message["role"], "content": message["content"]} for message in prompt]
