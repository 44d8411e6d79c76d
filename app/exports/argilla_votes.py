"""Votes as `argilla` records: a comparison with its fields and the responses of all its voters.

The fields of a record are those of Argilla 2's JSON: id, fields, metadata, responses. The dataset needs a
chat field `prompt`, text fields `response_1` to `response_4` (all but the first two optional), and a label
question `preference` whose labels are the names of these fields, `tie` and `both bad`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from app.exports.counts import Counts, Unfit
from app.exports.options import Options, uuid_of
from app.exports.trl_votes import MESSAGES, messages_of
from app.store.enums import Choice, GenerationStatus, WhyLeftOut
from app.store.judging import LETTERS
from app.store.vote_details import Side, Vote

FIELDS = tuple(f"response_{number}" for number in range(1, len(LETTERS) + 1))
_RESPONSE = pa.struct([("value", pa.string()), ("user_id", pa.string())])
ARGILLA_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("fields", pa.struct([("prompt", MESSAGES), *((name, pa.string()) for name in FIELDS)])),
        ("metadata", pa.struct([*((f"model_{n}", pa.string()) for n in range(1, len(FIELDS) + 1))])),
        ("responses", pa.struct([("preference", pa.list_(_RESPONSE))])),
    ]
)


def argilla_rows(
    groups: Iterable[Sequence[Vote]], counts: Counts, options: Options
) -> Iterator[dict[str, Any]]:
    """A record for each comparison whose names the reader may see. Answers stand in the order first shown.

    Args:
        groups: the votes on one comparison each.
    """
    for votes in groups:
        first = votes[0]
        why = _why_left_out(first)
        if why is not None:
            counts.left_out[why] += 1
            continue
        counts.takes(cut=not all(side.answer.complete for side in first.sides), leave_out_cut=False)
        yield _record(votes, options)


def _why_left_out(vote: Vote) -> Unfit | WhyLeftOut | None:
    if vote.hidden:
        return Unfit.HIDDEN
    if any(side.answer.status is not GenerationStatus.FINISHED for side in vote.sides):
        return WhyLeftOut.UNFINISHED
    same_history = len({side.answer.prompt_id for side in vote.sides}) == 1
    return None if same_history else WhyLeftOut.DIFFERENT_HISTORIES


def _record(votes: Sequence[Vote], options: Options) -> dict[str, Any]:
    sides = votes[0].sides
    names = {side.answer.id: name for side, name in zip(sides, FIELDS, strict=False)}
    responses = [
        {
            "value": _value(vote, names),
            "user_id": str(uuid_of(options.name_of(vote.label.user_id, vote.user))),
        }
        for vote in votes
    ]
    return {
        "id": str(votes[0].comparison.id),
        "fields": {
            "prompt": messages_of(sides[0].answer.prompt.content),
            **_padded([side.answer.text for side in sides], "response"),
        },
        "metadata": _padded([side.contender.name for side in sides], "model"),
        "responses": {"preference": responses},
    }


def _padded(values: Sequence[str], stem: str) -> dict[str, str | None]:
    """Numbered fields; those beyond the values are null."""
    given = dict(enumerate(values, start=1))
    return {f"{stem}_{number}": given.get(number) for number in range(1, len(FIELDS) + 1)}


def _value(vote: Vote, names: dict[int, str]) -> str:
    best: Side | None = vote.best
    if vote.label.choice is Choice.BEST and best is not None:
        return names[best.answer.id]
    return "tie" if vote.label.choice is Choice.TIE else "both bad"
