"""Votes as `raw` rows: one row per vote, with everything that its reader may see."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from app.exports.arena_votes import winner_of
from app.exports.counts import Counts
from app.exports.options import DEFAULTS, Options
from app.exports.trl_votes import MESSAGES, messages_of
from app.store.aspects import in_letters
from app.store.judging import LETTERS
from app.store.models import Label, LabelVersion
from app.store.vote_details import Side, Vote

_ASPECT = pa.struct([("name", pa.string()), ("winner", pa.string())])
_DECIDED = pa.struct(
    [
        ("choice", pa.string()),
        ("best", pa.string()),
        ("worst", pa.string()),
        ("reason", pa.string()),
        ("decided_at", pa.string()),
    ]
)
_VERSION = pa.struct(
    [
        ("choice", pa.string()),
        ("best", pa.string()),
        ("worst", pa.string()),
        ("aspects", pa.list_(_ASPECT)),
        ("reason", pa.string()),
        ("blind", pa.bool_()),
        ("withdrawn", pa.bool_()),
        ("given_at", pa.string()),
        ("ended_at", pa.string()),
    ]
)
_ANSWER = pa.struct(
    [
        ("letter", pa.string()),
        ("name", pa.string()),
        ("method", pa.string()),
        ("base_model", pa.string()),
        ("run_id", pa.int64()),
        ("checkpoint_step", pa.int64()),
        ("seed", pa.int64()),
        ("take", pa.int64()),
        ("status", pa.string()),
        ("complete", pa.bool_()),
        ("messages", MESSAGES),
        ("text", pa.string()),
        ("tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("policy_logp", pa.float64()),
        ("reference_logp", pa.float64()),
        (
            "token_logps",
            pa.list_(
                pa.struct([("token", pa.string()), ("policy", pa.float64()), ("reference", pa.float64())])
            ),
        ),
    ]
)
RAW_SCHEMA = pa.schema(
    [
        ("label_id", pa.int64()),
        ("comparison_id", pa.int64()),
        ("conversation_id", pa.int64()),
        ("turn", pa.int64()),
        ("user", pa.string()),
        ("names_hidden", pa.bool_()),
        ("choice", pa.string()),
        ("best", pa.string()),
        ("worst", pa.string()),
        ("winner", pa.string()),
        ("model_a", pa.string()),
        ("model_b", pa.string()),
        ("aspects", pa.list_(_ASPECT)),
        ("adjudicated", _DECIDED),
        ("reason", pa.string()),
        ("seconds", pa.float64()),
        ("blind", pa.bool_()),
        ("created_at", pa.string()),
        ("updated_at", pa.string()),
        ("seed", pa.int64()),
        ("max_new_tokens", pa.int64()),
        ("temperature", pa.float64()),
        ("top_p", pa.float64()),
        ("continues_from", pa.string()),
        ("question", pa.string()),
        ("shown", pa.list_(pa.string())),
        ("answers", pa.list_(_ANSWER)),
        ("earlier_versions", pa.list_(_VERSION)),
    ]
)


def raw_rows(votes: Iterable[Vote], counts: Counts, options: Options) -> Iterator[dict[str, Any]]:
    """One row for each vote."""
    for vote in votes:
        counts.rows += 1
        counts.hidden += vote.hidden
        yield raw_row(vote, options)


def raw_row(vote: Vote, options: Options = DEFAULTS) -> dict[str, Any]:
    """All data of a vote. Fields that would reveal names hidden from the reader are null.

    `winner` uses the terms of Chatbot Arena's files and is null for more than two answers.
    """
    label, comparison, sides = vote.label, vote.comparison, vote.sides
    parameters = comparison.conversation.parameters
    shown = None if vote.hidden else [side.contender.name for side in sides]
    two = shown if shown is not None and len(shown) == 2 else [None, None]
    return {
        "label_id": label.id,
        "comparison_id": comparison.id,
        "conversation_id": comparison.conversation_id,
        "turn": comparison.turn,
        "user": options.name_of(vote.label.user_id, vote.user),
        "names_hidden": vote.hidden,
        **_verdict(vote),
        "model_a": two[0],
        "model_b": two[1],
        "aspects": None if vote.hidden else _aspects(label),
        "adjudicated": None if vote.hidden else _decided(vote),
        "reason": None if vote.hidden else label.reason,
        "seconds": label.seconds,
        "blind": label.blind,
        "created_at": label.created_at.isoformat(),
        "updated_at": label.updated_at.isoformat(),
        "seed": comparison.conversation.seed,
        "max_new_tokens": parameters.get("max_new_tokens"),
        "temperature": parameters.get("temperature"),
        "top_p": parameters.get("top_p"),
        "continues_from": None if vote.continues_from is None else LETTERS[vote.continues_from],
        "question": comparison.question,
        "shown": shown,
        "answers": [_answer(side, hidden=vote.hidden) for side in sides],
        "earlier_versions": [] if vote.hidden else [_version(version) for version in vote.earlier],
    }


def _version(version: LabelVersion) -> dict[str, Any]:
    letters = dict(zip(version.shown, LETTERS, strict=False))
    return {
        "choice": version.choice.value,
        "best": letters.get(version.best_id),
        "worst": letters.get(version.worst_id),
        "aspects": _aspects(version),
        "reason": version.reason,
        "blind": version.blind,
        "withdrawn": version.withdrawn,
        "given_at": version.given_at.isoformat(),
        "ended_at": version.ended_at.isoformat(),
    }


def _aspects(vote: Label | LabelVersion) -> list[dict[str, str]]:
    """The aspects that were asked; the winner is a letter, `tie` or `not applicable`."""
    said = in_letters(vote.aspects, vote.shown)
    return [{"name": name, "winner": winner} for name, winner in said.items()]


def _decided(vote: Vote) -> dict[str, str | None] | None:
    """The adjudicated verdict on the vote's comparison, in the letters that this voter saw."""
    found = vote.adjudicated
    if found is None:
        return None
    letters = dict(zip(vote.label.shown, LETTERS, strict=False))
    return {
        "choice": found.choice.value,
        "best": letters.get(found.best_id),
        "worst": letters.get(found.worst_id),
        "reason": found.reason,
        "decided_at": found.created_at.isoformat(),
    }


def _verdict(vote: Vote) -> dict[str, Any]:
    """The verdict; null for a reader who may still vote blind."""
    if vote.hidden:
        return dict.fromkeys(("choice", "best", "worst", "winner"))
    return {
        "choice": vote.label.choice.value,
        "best": vote.best.letter if vote.best else None,
        "worst": vote.worst.letter if vote.worst else None,
        "winner": winner_of(vote) if len(vote.sides) == 2 else None,
    }


def _answer(side: Side, *, hidden: bool) -> dict[str, Any]:
    answer = side.answer
    return {
        "letter": side.letter,
        "seed": answer.seed,
        "take": answer.take,
        "status": answer.status.value,
        "complete": answer.complete,
        "messages": messages_of(answer.prompt.content),
        "text": answer.text,
        **(dict.fromkeys(_TELLING) if hidden else _who(side)),
    }


_TELLING = (
    "name", "method", "base_model", "in_4bit", "run_id", "checkpoint_step",
    "tokens", "seconds", "policy_logp", "reference_logp", "token_logps",
)  # fmt: skip
"""Fields that reveal an answer's contender, directly or indirectly."""


def _who(side: Side) -> dict[str, Any]:
    contender, answer = side.contender, side.answer
    return {
        "name": contender.name,
        "method": contender.method,
        "base_model": contender.base_model,
        "in_4bit": contender.in_4bit,
        "run_id": contender.run_id,
        "checkpoint_step": side.step,
        "tokens": answer.tokens,
        "seconds": answer.seconds,
        "policy_logp": answer.policy_logp,
        "reference_logp": answer.reference_logp,
        "token_logps": None
        if answer.token_logps is None
        else [{"token": t, "policy": p, "reference": r} for t, p, r in answer.token_logps],
    }
