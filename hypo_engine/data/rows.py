"""The values of one row: texts, messages, and the common start of two answers. No torch here.

Every function either returns a valid value or raises RowError, whose message is the reason to skip the row.
Reasons name the column and never repeat its content.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypo_engine.data.pair import Turn
from hypo_engine.data.written import UnreadableMessages, read_messages
from hypo_engine.errors import DataError

MAX_DEPTH = 32
ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "system": "system",
    "developer": "system",
}
SAID_KEYS = ("content", "value", "text", "parts", "message")
USED_KEYS = frozenset({"role", "from", "type", *SAID_KEYS})
UNUSABLE_KEYS = frozenset(
    {
        "audio",
        "function_call",
        "image",
        "image_url",
        "images",
        "reasoning",
        "reasoning_content",
        "refusal",
        "thinking",
        "thought",
        "thoughts",
        "tool_calls",
        "tools",
        "video",
        "videos",
    }
)
"""Keys of a message that change its meaning but do not fit into a pair of texts."""
TEXT_PARTS = (None, "text", "input_text", "output_text")
EMPTY_TEXTS = frozenset({"[]", "{}", "null", "None", "nan", "NaN", "NA", "<NA>"})
"""How JSON, Python, pandas and R write a missing value."""


class RowError(DataError):
    """The row is skipped; the message says why."""


@dataclass(frozen=True, slots=True)
class BadCell:
    """A cell that cannot be read, and the reason. Its row is skipped only if it needs the cell."""

    reason: str

    def __str__(self) -> str:
        return self.reason


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Turn nested pyarrow and numpy values into dicts, lists and scalars; NaN becomes None."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if depth == 0:
        raise RowError("nested too deeply")
    if isinstance(value, Mapping):
        return {str(key): plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        if _is_mapped_message(value):
            return plain(dict(value), depth)
        return [plain(inner, depth - 1) for inner in value]
    for convert in ("as_py", "tolist"):
        if hasattr(value, convert):
            return plain(getattr(value, convert)(), depth - 1)
    return value


def _is_mapped_message(value: Sequence[Any]) -> bool:
    """Whether a list of (key, value) pairs is a message, which is how Parquet's maps are read."""
    if not all(isinstance(item, list | tuple) and len(item) == 2 for item in value):
        return False
    names = [item[0] for item in value]
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        return False
    return any(name in ("role", "from") for name in names) and any(name in SAID_KEYS for name in names)


def kind_of(value: Any) -> str:
    """The type of a JSON value, in plain words."""
    if isinstance(value, BadCell):
        return f"a cell that cannot be read ({value})"
    names = {bool: "true/false", int: "a number", float: "a number", dict: "an object", list: "a list"}
    return names.get(type(value), "text" if isinstance(value, str) else type(value).__name__)


def text(value: Any, name: str) -> str:
    """A text that can be stored and encoded, and is not blank."""
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
    """A text, or "" if the value is missing, blank or a word for a missing value."""
    if value is None or (isinstance(value, str) and (not value.strip() or value.strip() in EMPTY_TEXTS)):
        return ""
    return text(value, name)


def is_message(value: Any) -> bool:
    """Whether a value is one turn with a speaker."""
    return isinstance(value, dict) and bool(value.get("role") or value.get("from"))


def message(value: Any, name: str) -> Turn:
    """One turn, from ``role``/``content`` or ``from``/``value``; content parts are joined if all are text.

    Some formats write ``text``, ``message`` (Cohere) or ``parts`` (Gemini) instead of ``content``.
    """
    if isinstance(value, BadCell):
        raise RowError(f"{name}: {value}")
    if not isinstance(value, dict):
        raise RowError(f"{name}: wrong type, {kind_of(value)} instead of a message")
    given = value.get("role") or value.get("from")
    role = ROLES.get(given.lower()) if isinstance(given, str) else None
    if role is None:
        raise RowError(f"{name}: a message whose role is not user, assistant or system")
    _refuse_unusable(value, name)
    said = (value[key] for key in SAID_KEYS if value.get(key) not in (None, "", []))
    return {"role": role, "content": _content(next(said, None), name)}


def _refuse_unusable(value: Mapping[str, Any], name: str) -> None:
    for key in value.keys() & UNUSABLE_KEYS:
        if value[key] is not False and not is_empty(value[key]):
            raise RowError(f"{name}: a message with {key}, which a pair of texts cannot hold")


def _content(value: Any, name: str) -> str:
    if isinstance(value, list):
        return "".join(_part(part, name) for part in value)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(f"{name}: wrong type, a message holds {kind_of(value)} instead of text")
    return value


def _part(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and value.get("type") in TEXT_PARTS:
        _refuse_unusable(value, name)
        said = value.get("value") if value.get("text") is None else value["text"]
        if isinstance(said, str):
            return said
    raise RowError(f"{name}: a message with something other than text in it")


def conversation(value: Any, name: str) -> list[Turn]:
    """The turns of a list of messages; blank system messages are dropped.

    One message counts as a list of one. A pair of lists, roles and contents, which is how ``datasets`` stores
    a sequence of objects, is zipped.
    """
    if isinstance(value, BadCell):
        raise RowError(f"{name}: {value}")
    if isinstance(value, dict):
        value = listed(value)
    if not isinstance(value, list):
        raise RowError(f"{name}: wrong type, {kind_of(value)} instead of messages")
    turns = [message(item, name) for item in value]
    return [turn for turn in turns if turn["role"] != "system" or turn["content"].strip()]


def listed(value: Any) -> Any:
    """One message, or lists of roles and contents, as a list of messages; anything else unchanged."""
    if not isinstance(value, dict):
        return value
    if is_message(value) and not isinstance(value.get("role") or value.get("from"), list):
        return [value]
    lists = [inner for inner in value.values() if isinstance(inner, list)]
    if not is_message(value) or len(lists) < len(value) or len({len(inner) for inner in lists}) != 1:
        return value
    return [dict(zip(value, items, strict=True)) for items in zip(*lists, strict=True)]


def is_empty(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether a value is missing, blank, or a list or object of such values."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    if isinstance(value, str):
        return not value or value.isspace() or value.strip() in EMPTY_TEXTS
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return depth > 0 and all(is_empty(inner, depth - 1) for inner in value)
    return hasattr(value, "__len__") and len(value) == 0


def unused_keys(value: Any, name: str) -> Iterator[str]:
    """`name.key` for each unread key of a message or of its content parts."""
    if isinstance(value, list):
        for item in value:
            yield from unused_keys(item, name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in USED_KEYS and not is_empty(inner):
                yield f"{name}.{key}"
        if isinstance(value.get("content"), list):
            yield from unused_keys(value["content"], f"{name}.content")


class Row(Mapping[str, Any]):
    """The values of one row by column; values are read lazily, and the row records which were used.

    Reading converts values of pyarrow and numpy to plain ones, and parses messages written as text. An error
    in a column that is never read does no harm.
    """

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        self._values = values
        self._prefix = prefix
        self._read: dict[str, Any] = {}
        self._used: set[str] = set()
        self._taken: set[str] = set()
        self._inside: dict[str, Row] = {}

    def __getitem__(self, column: str) -> Any:
        value = self._value(column)
        self._used.add(column)
        return value

    def __contains__(self, column: object) -> bool:
        return column in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _value(self, column: str) -> Any:
        if column not in self._read:
            value = self._values[column]
            if isinstance(value, BadCell):
                raise RowError(f"{self._prefix}{column}: {value}")
            try:
                value = plain(value)
                self._read[column] = plain(read_messages(value)) if isinstance(value, str) else value
            except RowError as error:
                raise RowError(f"{self._prefix}{column}: {error}") from None
            except UnreadableMessages as error:
                raise RowError(f"{self._prefix}{column} {error}") from None
        return self._read[column]

    def take(self, column: str) -> Any:
        """A column's value, which counts as used; its unused parts are not reported."""
        self._taken.add(column)
        return self.get(column)

    def peek(self, column: str) -> Any:
        """A column's value without marking it as used; None if it is missing or unreadable."""
        try:
            return self._value(column) if column in self._values else None
        except RowError:
            return None

    def holds(self, column: str) -> bool:
        """Whether a column has a value; does not mark it as used."""
        return column in self._values and not is_empty(self._values[column])

    def inside(self, column: str) -> "Row":
        """The object in a column, as a row.

        Raises:
            RowError: the column holds no object.
        """
        if column not in self._inside:
            value = self.get(column)
            if not isinstance(value, dict):
                raise RowError(f"{self._prefix}{column}: wrong type, {kind_of(value)} instead of an object")
            self._inside[column] = Row(value, f"{self._prefix}{column}.")
        return self._inside[column]

    def unused(self) -> list[str]:
        """Columns and message keys that have a value and were not used."""
        found: list[str] = []
        for column in self._values:
            if column in self._inside:
                found += self._inside[column].unused()
            elif column in self._taken:
                continue
            elif column in self._used:
                found += unused_keys(self._read[column], self._prefix + column)
            elif self.holds(column):
                found.append(self._prefix + column)
        return list(dict.fromkeys(found))


def checked_prompt(prompt: str | Sequence[Turn]) -> str | list[Turn]:
    """A prompt that a model can answer: a text, or turns that end with the user's."""
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
    """The text of an answer, which has to be a single assistant turn."""
    if not turns:
        raise RowError(f"{name} is empty")
    if len(turns) > 1:
        raise RowError(f"{name} has several turns after the prompt; one answer is needed")
    if turns[0]["role"] != "assistant":
        raise RowError(f"{name} is not the assistant's turn")
    return turns[0]["content"]


def shared_turns(chosen: Sequence[Turn], rejected: Sequence[Turn]) -> int:
    """Count the leading turns that two conversations share; at least one turn of each is left."""
    limit = max(0, min(len(chosen), len(rejected)) - 1)
    return next((i for i in range(limit) if chosen[i] != rejected[i]), limit)


def shared_text(chosen: str, rejected: str) -> int:
    """Number of leading characters that two texts share, cut back to the start of a word.

    The space before an answer belongs to the answer, as in TRL, because tokenizers join it to the next word.
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
