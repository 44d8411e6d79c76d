"""Votes -> `trl` (prompt, chosen, rejected) or `raw` (one row a vote with everything).

`trl` rows are conversations always, single questions too: the answers were written under the models' chat
templates, and trainers put a plain prompt to the model as it stands, without the template. It also keeps
a file that mixes single questions and longer conversations in one type.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from app.errors import InvalidInput, Refused
from app.exports.writers import FileType, write_rows
from app.imports.service import AddedDataset, add_pairs, checked_name
from app.store import labels, voted_prompts
from app.store.db import read_session, write_session
from app.store.enums import Choice, WhyLeftOut
from app.store.labels import LETTERS, Side, Vote, VoteFilter
from hypo_engine.formats import Pair, prompt_key

Message = dict[str, str]


class LabelFormat(StrEnum):
    """`trl` is for training, `raw` for looking into the votes."""

    TRL = "trl"
    RAW = "raw"


REASONS = {
    WhyLeftOut.TIE: "ties prefer neither answer",
    WhyLeftOut.ALL_BAD: "both bad prefers neither answer",
    WhyLeftOut.DIFFERENT_HISTORIES: "the answers continued different conversations, so they share no prompt",
    WhyLeftOut.SAME_TEXT: "the best and the worst answer are the same text",
    WhyLeftOut.EMPTY: "an answer is empty",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A written file: its rows, and how many votes were left out, by reason."""

    path: Path
    rows: int
    left_out: dict[str, int]


_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TRL_SCHEMA = pa.schema([("prompt", _MESSAGES), ("chosen", _MESSAGES), ("rejected", _MESSAGES)])
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
        ("messages", _MESSAGES),
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
        ("choice", pa.string()),
        ("best", pa.string()),
        ("worst", pa.string()),
        ("winner", pa.string()),
        ("model_a", pa.string()),
        ("model_b", pa.string()),
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
    ]
)


def export_labels(
    format: LabelFormat | str,
    file_type: FileType | str,
    *,
    folder: Path,
    only: VoteFilter | None = None,
) -> Exported:
    """Write the votes to a new file in a folder.

    Raises:
        InvalidInput: for a format or file type that does not exist.
    """
    chosen_format, chosen_type = (
        _member(LabelFormat, format, "format"),
        _member(FileType, file_type, "file_type"),
    )
    left_out: Counter[WhyLeftOut] = Counter()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"votes_{chosen_format.value}.{chosen_type.value}"
    with read_session() as session:
        votes = labels.stream(session=session, only=only)
        if chosen_format is LabelFormat.TRL:
            rows = write_rows(path, trl_rows(votes, left_out), chosen_type, TRL_SCHEMA)
        else:
            rows = write_rows(path, map(raw_row, votes), chosen_type, RAW_SCHEMA)
    return Exported(path, rows, {reason.value: left_out[reason] for reason in WhyLeftOut})


def count_trl(*, only: VoteFilter | None = None) -> tuple[int, dict[str, int]]:
    """How many rows a `trl` export would have now, and how many votes it would leave out, by reason."""
    with read_session() as session:
        found = labels.count_left_out(session=session, only=only)
    return found.get(None, 0), {reason.value: found.get(reason, 0) for reason in WhyLeftOut}


def use_as_dataset(name: str, *, only: VoteFilter | None = None) -> AddedDataset:
    """Store the pairs of a `trl` export as the next version of a dataset, all of them for training.

    Their prompts leave the held-out pairs of every dataset first, so that no later evaluation asks what a
    model was trained on.

    Raises:
        InvalidInput: for a bad name.
        Refused: when no vote becomes a pair.
    """
    checked_name(name)
    with read_session() as reading:
        keys = {prompt_key(row["prompt"]) for row in trl_rows(labels.stream(session=reading, only=only))}
    if not keys:
        raise Refused("No vote prefers one answer to another yet; vote for a better answer first.")
    _take_out_of_evaluation(keys)
    with read_session() as reading, write_session() as session:
        rows = trl_rows(labels.stream(session=reading, only=only))
        pairs = (Pair(row["prompt"], _said(row["chosen"]), _said(row["rejected"])) for row in rows)
        return add_pairs(session=session, pairs=pairs, name=name, source="votes", format="trl", held_out=0.0)


def _take_out_of_evaluation(keys: set[str]) -> None:
    """Remember the prompts first: a dataset that is added meanwhile then trains on them as well."""
    with write_session() as session:
        voted_prompts.keep(keys, session=session)
    with read_session() as reading:
        held_out = voted_prompts.held_out_pairs_of(keys, session=reading)
    with write_session() as session:
        voted_prompts.take_out_of_evaluation(held_out, session=session)


def _said(messages: list[Message]) -> str:
    return messages[0]["content"]


def trl_rows(
    votes: Iterator[Vote], left_out: Counter[WhyLeftOut] | None = None
) -> Iterator[dict[str, list[Message]]]:
    """The pairs among the votes, as conversations; what is left out is counted."""
    for vote in votes:
        row = trl_row(vote)
        if isinstance(row, WhyLeftOut):
            if left_out is not None:
                left_out[row] += 1
        else:
            yield row


def trl_row(vote: Vote) -> dict[str, list[Message]] | WhyLeftOut:
    """The pair of a vote; of more than two answers the best and the worst."""
    best, worst = vote.best, vote.worst
    if vote.label.choice is Choice.TIE:
        return WhyLeftOut.TIE
    if vote.label.choice is Choice.ALL_BAD or best is None or worst is None:
        return WhyLeftOut.ALL_BAD
    if best.answer.prompt_id != worst.answer.prompt_id:
        return WhyLeftOut.DIFFERENT_HISTORIES
    chosen, rejected = best.answer.text, worst.answer.text
    if not chosen.strip() or not rejected.strip():
        return WhyLeftOut.EMPTY
    if chosen.strip() == rejected.strip():
        return WhyLeftOut.SAME_TEXT
    return {
        "prompt": _messages(best),
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


def _messages(side: Side) -> list[Message]:
    content = side.answer.prompt.content
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    return [{"role": message["role"], "content": message["content"]} for message in content]


def raw_row(vote: Vote) -> dict[str, Any]:
    """Everything about a vote. `winner` uses the arena's words and is empty for more than two answers."""
    label, comparison, sides = vote.label, vote.comparison, vote.sides
    parameters = comparison.conversation.parameters
    origin = comparison.continues_from
    names = [side.contender.name for side in sides]
    return {
        "label_id": label.id,
        "comparison_id": comparison.id,
        "conversation_id": comparison.conversation_id,
        "turn": comparison.turn,
        "user": vote.user,
        "choice": label.choice.value,
        "best": vote.best.letter if vote.best else None,
        "worst": vote.worst.letter if vote.worst else None,
        "winner": _winner(vote) if len(sides) == 2 else None,
        "model_a": names[0] if len(names) == 2 else None,
        "model_b": names[1] if len(names) == 2 else None,
        "reason": label.reason,
        "seconds": label.seconds,
        "blind": label.blind,
        "created_at": label.created_at.isoformat(),
        "updated_at": label.updated_at.isoformat(),
        "seed": comparison.conversation.seed,
        "max_new_tokens": parameters.get("max_new_tokens"),
        "temperature": parameters.get("temperature"),
        "top_p": parameters.get("top_p"),
        "continues_from": None if origin is None else LETTERS[origin],
        "question": comparison.question,
        "shown": names,
        "answers": [_answer(side) for side in sides],
    }


def _winner(vote: Vote) -> str:
    if vote.label.choice is Choice.BEST and vote.best is not None:
        return "model_a" if vote.best is vote.sides[0] else "model_b"
    return "tie" if vote.label.choice is Choice.TIE else "tie (bothbad)"


def _answer(side: Side) -> dict[str, Any]:
    contender, answer = side.contender, side.answer
    return {
        "letter": side.letter,
        "name": contender.name,
        "method": contender.method,
        "base_model": contender.base_model,
        "run_id": contender.run_id,
        "checkpoint_step": side.step,
        "seed": answer.seed,
        "take": answer.take,
        "status": answer.status.value,
        "complete": answer.complete,
        "messages": _messages(side),
        "text": answer.text,
        "tokens": answer.tokens,
        "seconds": answer.seconds,
        "policy_logp": answer.policy_logp,
        "reference_logp": answer.reference_logp,
        "token_logps": None
        if answer.token_logps is None
        else [{"token": t, "policy": p, "reference": r} for t, p, r in answer.token_logps],
    }


_Kind = TypeVar("_Kind", bound=StrEnum)


def _member(kind: type[_Kind], value: str, field: str) -> _Kind:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise InvalidInput(f"{field} must be one of {known}, not {value!r}.", field=field) from None
