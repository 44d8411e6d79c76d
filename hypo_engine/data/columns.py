"""What columns are called in preference data, and what a column that no layout asks for means. No torch here.

One rule holds for every layout. A column that would change what the pair says is used, or the row is left out
with its reason; every other column that is not used is counted and named.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from hypo_engine.data.pair import Pair
from hypo_engine.data.rows import Row, RowError, is_message

ANSWERS = (
    ("chosen", "rejected"),
    ("chosen_messages", "rejected_messages"),
    ("chosen_response", "rejected_response"),
    ("preferred_output", "non_preferred_output"),
    ("preferred", "dispreferred"),
    ("response_chosen", "response_rejected"),
)
"""The preferred answer's column and the other's."""

QUESTIONS = ("question", "query", "instruction", "input", "user_prompt", "user_message", "problem")
"""Columns that hold what was asked, where there is no column `prompt`."""

CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue", "dialog")
SYSTEMS = ("system", "system_prompt", "system_message")
HISTORY = "history"

CONTEXTS = frozenset(
    {
        "article",
        "background",
        "context",
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
"""Columns that hold what a question is about: without it the answers mean something else."""
_TEXTS = ("text", "content", "page_content", "passage", "document", "snippet", "body")
_DEEPEST = 4

UNUSABLE = frozenset(
    {
        "audio",
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
"""Columns that belong to the prompt or an answer and that a pair of texts cannot hold."""
_THOUGHTS = frozenset({"reasoning", "thinking", "thought", "thoughts"})
_SIDES = frozenset({"chosen", "rejected", "prompt", "a", "b"})


@lru_cache(maxsize=4096)
def tokens(name: str) -> tuple[str, ...]:
    """The lower-case words and numbers in a column's name: `Chosen-Rating` is (chosen, rating)."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", name)
    return tuple(re.findall(r"[a-z]+|\d+", spaced.lower()))


@lru_cache(maxsize=4096)
def is_unusable(name: str) -> bool:
    """Whether what is in a column of this name belongs to the pair and cannot be used."""
    words = tokens(name)
    rest = tuple(word for word in words if word not in _SIDES)
    sided = len(rest) < len(words)
    return "_".join(rest) in UNUSABLE or (sided and len(rest) > 0 and _THOUGHTS.issuperset(rest))


def check_unused(columns: Iterable[str], row: Row, pair: Pair) -> None:
    """See to it that nothing was left aside that changes what the pair says.

    Raises:
        RowError: a question, a conversation or a context that says something the prompt does not.
    """
    for column in columns:
        if column in QUESTIONS or column == "prompt":
            _check_question(column, row.peek(column), pair)
        elif column in CONVERSATIONS:
            _check_conversation(column, row.peek(column), pair)
        elif "_".join(tokens(column)) in CONTEXTS:
            _check_context(column, row.peek(column), pair)


def refuse_unusable(columns: Iterable[str]) -> None:
    """Raises RowError where one of the columns belongs to the pair and cannot be used."""
    for column in columns:
        if is_unusable(column.rpartition(".")[2]):
            raise RowError(
                f"{column} cannot be kept in a pair of texts, and the row means something else without it"
            )


def _check_question(column: str, value: Any, pair: Pair) -> None:
    if isinstance(value, str) and _squeezed(value) not in _squeezed(said_in(pair)):
        raise RowError(
            f"{column} says something that the prompt does not; choose the prompt's column in a mapping"
        )


def _check_conversation(column: str, value: Any, pair: Pair) -> None:
    if not isinstance(value, list) or not all(is_message(item) for item in value):
        return
    said = _squeezed("\n".join([said_in(pair), pair.chosen, pair.rejected]))
    for item in value:
        content = item.get("content") if item.get("content") is not None else item.get("value")
        if isinstance(content, str) and _squeezed(content) not in said:
            raise RowError(
                f"{column} holds turns that the prompt does not; choose the prompt's column in a mapping"
            )


def _check_context(column: str, value: Any, pair: Pair) -> None:
    said = _squeezed(said_in(pair))
    if any(_squeezed(text) not in said for text in _texts(value)):
        raise RowError(
            f"{column} says something that the prompt does not; put it into the prompt, "
            "or choose the prompt's column in a mapping to go without it"
        )


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """The texts in a value: of documents what they say, and not their titles or numbers."""
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
