"""The values of one row: text, messages, and what two answers share. No torch here.

A row goes through `plain` once; every other function takes plain values.
Every function here either returns something good or raises RowError, whose message is the reason the row
is left out. Reasons name the column and never repeat its content.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypo_engine.errors import DataError
from hypo_engine.reporting import Prompt

MAX_DEPTH = 32
ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}

Turn = dict[str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference: two answers to the same prompt.

    ``prompt`` is plain text to continue, or the turns of a conversation that ends before the answer.
    """

    prompt: Prompt
    chosen: str
    rejected: str


class RowError(DataError):
    """This row becomes no pair; the message says why."""


@dataclass(frozen=True, slots=True)
class BadCell:
    """A cell that cannot be read, and why. It costs its row only where the row needs it."""

    reason: str

    def __str__(self) -> str:
        return self.reason


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Turn nested pyarrow and numpy values into dicts, lists and scalars; NaN counts as missing."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if depth == 0:
        raise RowError("nested too deep")
    if isinstance(value, Mapping):
        return {str(key): plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth - 1) for inner in value]
    for convert in ("as_py", "tolist"):
        if hasattr(value, convert):
            return plain(getattr(value, convert)(), depth - 1)
    return value


def kind_of(value: Any) -> str:
    """What a person calls the type of a JSON value."""
    if isinstance(value, BadCell):
        return f"a cell that cannot be read ({value})"
    names = {bool: "true/false", int: "a number", float: "a number", dict: "an object", list: "a list"}
    return names.get(type(value), "text" if isinstance(value, str) else type(value).__name__)


def text(value: Any, name: str) -> str:
    """A text that can be stored and encoded, and is more than white space."""
    if value is None:
        raise RowError(f"{name} missing" if name == "prompt" else f"{name} is empty")
    if isinstance(value, BadCell):
        raise RowError(f"{name}: {value}")
    if not isinstance(value, str):
        raise RowError(f"{name}: wrong type, {kind_of(value)} instead of text")
    if not value or value.isspace():
        raise RowError(f"{name} missing" if name == "prompt" else f"{name} is empty")
    if "\x00" in value:
        raise RowError(f"{name} holds a NUL character")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise RowError(f"{name} is not UTF-8: it holds half a surrogate pair")
    return str(value)


def optional_text(value: Any, name: str) -> str:
    """A text, or "" where the value is missing or blank."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    return text(value, name)


def message(value: Any, name: str) -> Turn:
    """One turn, from ``role``/``content`` or ``from``/``value``; parts that are all text are joined."""
    if isinstance(value, BadCell):
        raise RowError(f"{name}: {value}")
    if not isinstance(value, dict):
        raise RowError(f"{name}: wrong type, {kind_of(value)} instead of a message")
    given = value.get("role") or value.get("from")
    role = ROLES.get(given.lower()) if isinstance(given, str) else None
    if role is None:
        raise RowError(f"{name}: a message whose role is not user, assistant or system")
    content = value.get("content")
    return {"role": role, "content": _content(value.get("value") if content is None else content, name)}


def _content(value: Any, name: str) -> str:
    if isinstance(value, list):
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in value):
            raise RowError(f"{name}: a message with something other than text in it")
        return "".join(part["text"] for part in value)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(f"{name}: wrong type, a message holds {kind_of(value)} instead of text")
    return value


def conversation(value: Any, name: str) -> list[Turn]:
    """The turns of a list of messages; system messages that say nothing are dropped."""
    if isinstance(value, BadCell):
        raise RowError(f"{name}: {value}")
    if not isinstance(value, list):
        raise RowError(f"{name}: wrong type, {kind_of(value)} instead of messages")
    turns = [message(item, name) for item in value]
    return [turn for turn in turns if turn["role"] != "system" or turn["content"].strip()]


def checked_prompt(prompt: str | Sequence[Turn]) -> str | list[Turn]:
    """A prompt that a model can answer: text, or turns of which the last is the user's."""
    if isinstance(prompt, str):
        return text(prompt, "prompt")
    if not prompt:
        raise RowError("prompt missing")
    if prompt[-1]["role"] != "user":
        raise RowError("the prompt does not end with the user's turn")
    return [
        {"role": turn["role"], "content": text(turn["content"], "a turn of the prompt")} for turn in prompt
    ]


def answer_of(turns: Sequence[Turn], name: str) -> str:
    """The text of the one assistant turn that answers a prompt."""
    if not turns:
        raise RowError(f"{name} is empty")
    if len(turns) > 1:
        raise RowError(f"{name} has several turns after the prompt; one answer is needed")
    if turns[0]["role"] != "assistant":
        raise RowError(f"{name} is not the assistant's turn")
    return turns[0]["content"]


def shared_turns(chosen: Sequence[Turn], rejected: Sequence[Turn]) -> int:
    """How many turns two conversations share at the start; at least one turn of each stays an answer."""
    limit = max(0, min(len(chosen), len(rejected)) - 1)
    return next((i for i in range(limit) if chosen[i] != rejected[i]), limit)


def shared_text(chosen: str, rejected: str) -> int:
    """How many characters two texts share at the start, cut back so that no word is split.

    The space before the answers belongs to them, as in TRL: tokenizers join it to the next word.
    """
    limit = min(len(chosen), len(rejected))
    end = next((i for i in range(limit) if chosen[i] != rejected[i]), limit)

    def splits_word(whole: str) -> bool:
        return 0 < end < len(whole) and whole[end - 1].isalnum() and whole[end].isalnum()

    if splits_word(chosen) or splits_word(rejected):
        while end > 0 and chosen[end - 1].isalnum():
            end -= 1
    while end > 0 and chosen[end - 1] == " ":
        end -= 1
    return end


def make_pair(prompt: Prompt | list[Turn], chosen: object, rejected: object) -> Pair:
    """A pair whose parts were checked.

    Raises:
        RowError: saying what is wrong with the row.
    """
    good, bad = text(chosen, "chosen"), text(rejected, "rejected")
    if good.strip() == bad.strip():
        raise RowError("chosen equals rejected")
    turns = prompt if isinstance(prompt, str) else [dict(turn) for turn in prompt]
    return Pair(checked_prompt(turns), good, bad)
