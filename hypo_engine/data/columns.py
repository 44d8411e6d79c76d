"""Column names in preference data, and the meaning of columns that no layout reads. No torch here.

One rule holds for every layout. A column that changes the meaning of the pair is either used, or the row is
skipped with a reason. All other unused columns are counted by name.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from hypo_engine.data.pair import Pair
from hypo_engine.data.rows import Row, RowError, is_message, listed

ANSWERS = (
    ("chosen", "rejected"),
    ("chosen_messages", "rejected_messages"),
    ("chosen_response", "rejected_response"),
    ("preferred_output", "non_preferred_output"),
    ("preferred", "dispreferred"),
    ("response_chosen", "response_rejected"),
)
"""The preferred answer's column and the other's."""

QUESTIONS = (
    "question",
    "query",
    "instruction",
    "input",
    "user_prompt",
    "user_message",
    "problem",
    "user_query",
)
"""Names of the prompt's column if there is no column `prompt`."""

CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue", "dialog")
SYSTEMS = (
    "system",
    "system_prompt",
    "system_message",
    "system_instruction",
    "system_instructions",
    "system_text",
    "sys_prompt",
    "preamble",
)
HISTORIES = ("history", "chat_history", "conversation_history", "previous_messages")

CONTEXTS = frozenset(
    {
        "article",
        "background",
        "context",
        "retrieved_contexts",
        "retrieved_context",
        "reference_documents",
        "reference_document",
        "prompt_context",
        "paragraphs",
        "paragraph",
        "doc",
        "context_text",
        "contexts",
        "ctx",
        "docs",
        "document",
        "documents",
        "evidence",
        "knowledge",
        "passage",
        "passages",
        "retrieved_documents",
        "source_document",
        "source_documents",
        "source_text",
    }
)
"""Columns with the context of a question, without which the answers cannot be judged."""
_NO_TEXT = re.compile(r"[A-Za-z_.:-]*\d[\w.:-]*|https?://\S+", re.ASCII)
"""Numbers, ids and addresses, which refer to a text but are not one."""
_TEXTS = ("text", "content", "page_content", "passage", "document", "snippet", "body")
_DEEPEST = 4

UNUSABLE = frozenset(
    {
        "audio",
        "video_path",
        "tools_json",
        "tool_definitions",
        "tool_call",
        "pictures",
        "picture",
        "img",
        "image_paths",
        "image_path",
        "image_file",
        "image_base64",
        "function_definitions",
        "available_tools",
        "audio_path",
        "attachments",
        "audios",
        "function_call",
        "functions",
        "image",
        "image_url",
        "image_urls",
        "images",
        "reasoning_content",
        "tool_calls",
        "tools",
        "video",
        "videos",
    }
)
"""Columns that belong to the prompt or an answer but do not fit into a pair of texts."""
_THOUGHTS = frozenset({"reasoning", "thinking", "thought", "thoughts"})
_SIDES = frozenset({"chosen", "rejected", "prompt", "a", "b"})


@lru_cache(maxsize=4096)
def tokens(name: str) -> tuple[str, ...]:
    """The lower-case words and numbers in a column's name: `Chosen-Rating` is (chosen, rating)."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", name)
    return tuple(re.findall(r"[a-z]+|\d+", spaced.lower()))


def key(name: str) -> str:
    """A column's normalized name: `systemPrompt`, `System Prompt` and `system-prompt` are one."""
    return "_".join(tokens(name))


def columns_of(row: Row, known: Sequence[str]) -> list[str]:
    """The row's columns with one of these names in any spelling, in the order of the names."""
    found = [column for column in row if key(column) in known]
    return sorted(found, key=lambda column: known.index(key(column)))


_UNUSABLE_KEYS = frozenset(map(key, UNUSABLE))


@lru_cache(maxsize=4096)
def is_unusable(name: str) -> bool:
    """Whether a column of this name belongs to the pair but cannot be used."""
    words = tokens(name)
    rest = tuple(word for word in words if word not in _SIDES)
    sided = len(rest) < len(words)
    return "_".join(rest) in _UNUSABLE_KEYS or (sided and len(rest) > 0 and _THOUGHTS.issuperset(rest))


def check_unused(columns: Iterable[str], row: Row, pair: Pair) -> None:
    """Check that no unused column changes the meaning of the pair.

    Raises:
        RowError: a question, conversation or context that the prompt does not contain.
    """
    for column in columns:
        name = key(column)
        if name in QUESTIONS or name == "prompt":
            _check_question(column, row.peek(column), pair)
        elif name in CONVERSATIONS:
            _check_conversation(column, row.peek(column), pair)
        elif name in CONTEXTS or name in SYSTEMS or name in HISTORIES:
            _check_context(column, row.peek(column), pair)


def refuse_unusable(columns: Iterable[str], row: Row) -> None:
    """Raises RowError if one of the columns belongs to the pair but cannot be used; counts are ignored."""
    for column in columns:
        if is_unusable(column.rpartition(".")[2]) and not _is_number(row.peek(column)):
            raise RowError(
                f"{column} cannot be kept in a pair of texts, and without it the row has another meaning"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and value.strip().isdecimal())


def _check_question(column: str, value: Any, pair: Pair) -> None:
    if isinstance(value, str) and _squeezed(value) not in _squeezed(said_in(pair)):
        raise RowError(
            f"{column} says something that the prompt does not; choose the prompt's column in a mapping"
        )


def _check_conversation(column: str, value: Any, pair: Pair) -> None:
    value = listed(value)
    if not isinstance(value, list) or not all(is_message(item) for item in value):
        return
    said = _squeezed("\n".join([said_in(pair), pair.chosen, pair.rejected]))
    for item in value:
        content = item.get("content") if item.get("content") is not None else item.get("value")
        if isinstance(content, str) and _squeezed(content) not in said:
            raise RowError(
                f"{column} has turns that the prompt does not have; choose the prompt's column in a mapping"
            )


def _check_context(column: str, value: Any, pair: Pair) -> None:
    said = _squeezed(said_in(pair))
    texts = [_squeezed(text) for text in _texts(value)]
    if any(text not in said and not _NO_TEXT.fullmatch(text) for text in texts):
        raise RowError(
            f"{column} says something that the prompt does not; put it into the prompt, or choose "
            "the prompt's column in a mapping to leave it out"
        )


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """The texts in a value; of documents the contents, without titles and numbers."""
    if isinstance(value, str):
        yield value
    elif depth < _DEEPEST and isinstance(value, dict):
        named = [value[name] for name in _TEXTS if value.get(name)]
        for inner in named or value.values():
            yield from _texts(inner, depth + 1)
    elif depth < _DEEPEST and isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, depth + 1)


def said_in(pair: Pair) -> str:
    """All text of a prompt."""
    if isinstance(pair.prompt, str):
        return pair.prompt
    return "\n".join(turn["content"] for turn in pair.prompt)


def _squeezed(text: str) -> str:
    return " ".join(text.split())
