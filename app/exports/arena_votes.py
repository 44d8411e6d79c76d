"""Votes as `arena` rows, with the columns of LMArena's `chatbot_arena_conversations` (arXiv 2306.05685)."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from app.exports.counts import Counts, Unfit
from app.exports.options import Options
from app.exports.trl_votes import MESSAGES, Message, messages_of, said
from app.store.enums import Choice, GenerationStatus, WhyLeftOut
from app.store.vote_details import Side, Vote

ARENA_SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("model_a", pa.string()),
        ("model_b", pa.string()),
        ("winner", pa.string()),
        ("judge", pa.string()),
        ("conversation_a", MESSAGES),
        ("conversation_b", MESSAGES),
        ("turn", pa.int64()),
        ("anony", pa.bool_()),
        ("tstamp", pa.float64()),
    ]
)


def arena_rows(votes: Iterable[Vote], counts: Counts, options: Options) -> Iterator[dict[str, Any]]:
    """Votes on two answers whose names the reader may see. `turn` counts the questions, `anony` is blind."""
    for vote in votes:
        why = why_unfit(vote)
        if why is not None:
            counts.left_out[why] += 1
            continue
        first, second = vote.sides
        counts.takes(cut=not (first.answer.complete and second.answer.complete), leave_out_cut=False)
        conversation = _conversation(first)
        yield {
            "question_id": str(vote.comparison.id),
            "model_a": first.contender.name,
            "model_b": second.contender.name,
            "winner": winner_of(vote),
            "judge": options.name_of(vote.label.user_id, vote.user),
            "conversation_a": conversation,
            "conversation_b": _conversation(second),
            "turn": sum(message["role"] == "user" for message in conversation),
            "anony": vote.label.blind,
            "tstamp": vote.label.created_at.timestamp(),
        }


def winner_of(vote: Vote) -> str:
    """The verdict of a vote on two answers in Chatbot Arena's words."""
    if vote.label.choice is Choice.BEST and vote.best is not None:
        return "model_a" if vote.best is vote.sides[0] else "model_b"
    return "tie" if vote.label.choice is Choice.TIE else "tie (bothbad)"


def why_unfit(vote: Vote) -> Unfit | WhyLeftOut | None:
    """Why a vote has no row; None if it has one."""
    if vote.hidden:
        return Unfit.HIDDEN
    if len(vote.sides) != 2:
        return Unfit.NOT_TWO
    ended = all(side.answer.status is GenerationStatus.FINISHED for side in vote.sides)
    return None if ended else WhyLeftOut.UNFINISHED


def _conversation(side: Side) -> list[Message]:
    return [*messages_of(side.answer.prompt.content), *said(side.answer.text)]
