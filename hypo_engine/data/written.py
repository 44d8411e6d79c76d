"""Messages serialised as text -> messages. No torch here.

CSV has no lists, so pandas, numpy and ``datasets`` write ``str()`` of a conversation; other tools put JSON
into a string. Only text that contains messages is parsed: a prompt that happens to be JSON stays text.
"""

import ast
import json
import re
from typing import Any

from hypo_engine.errors import DataError

LONGEST_LITERAL = 512 * 1024
"""Longest Python literal that is parsed, in characters; its syntax tree takes many times that memory."""

_OPENING = re.compile(r"\s*(?:array\(\s*|list\(\s*)?[\[{(]")
_SPEAKER = re.compile(r"""[{,]\s*\\?["'](?:role|from)\\?["']\s*:""")
_SAID = re.compile(r"""[{,]\s*\\?["'](?:content|value|tool_calls)\\?["']\s*:""")
_SPOKEN = re.compile(
    r"""[{,]\s*\\?["']role\\?["']\s*:\s*\\?["'](?:user|human|assistant|chatbot|model|bot|system|developer)\\?["']""",
    re.IGNORECASE,
)
_SAID_OTHERWISE = re.compile(r"""[{,]\s*\\?["'](?:text|parts|message)\\?["']\s*:""")
"""Keys that other objects have too; an object with them is a message only if its role is known."""
_TOKEN = re.compile(
    r"""(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    r"|(?P<open>\b(?:array|list)\((?=\s*[\[(]))"
    r"|(?P<close>,\s*dtype=[\w.]+\s*(?:,\s*shape=\([^)]*\))?\s*\)|(?<=[\]}])\s*\))"
    r"|(?P<gap>(?<=[}\])'\"])\s+(?=[{\[(a'\"]))"
    r"|(?P<word>\b(?:nan|null|true|false)\b)",
    re.DOTALL,
)
_WORDS = {"nan": "None", "null": "None", "true": "True", "false": "False"}


class UnreadableMessages(DataError):
    """The text looks like messages but cannot be parsed."""


def holds_messages(text: str) -> bool:
    """Whether a text looks like serialised messages: it starts with a bracket and has a message's keys."""
    if not (text.lstrip()[:1] == '"' or _OPENING.match(text)) or _SPEAKER.search(text) is None:
        return False
    said = _SAID.search(text) or (_SPOKEN.search(text) and _SAID_OTHERWISE.search(text))
    return said is not None


def read_messages(text: str) -> Any:
    """The messages in a text, or the text itself if it contains none.

    Parses JSON, JSON within a JSON string, and ``str()`` of Python lists and numpy arrays.

    Raises:
        UnreadableMessages: it looks like messages but cannot be parsed, for example a truncated cell.
    """
    if not holds_messages(text):
        return text
    try:
        value = read_literal(text)
    except ValueError:
        raise UnreadableMessages("holds messages written as text that cannot be read") from None
    if isinstance(value, str):
        return read_messages(value) if value != text else text
    return value if _are_messages(value) else text


def written_list(value: Any) -> Any:
    """The list in a text, or the value itself if it is not such a text."""
    if not isinstance(value, str) or _OPENING.match(value) is None:
        return value
    try:
        read = read_literal(value)
    except ValueError:
        return value
    return list(read) if isinstance(read, list | tuple) else value


def read_literal(text: str) -> Any:
    """Parse a JSON or Python value.

    Raises:
        ValueError: it is neither.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > LONGEST_LITERAL:
        raise ValueError("too long for a Python literal")
    for repaired in (False, True):
        source = _TOKEN.sub(_python, text.strip()) if repaired else text.strip()
        try:
            return ast.literal_eval(source)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    raise ValueError("neither JSON nor a Python literal")


def _python(token: re.Match[str]) -> str:
    """Parse a Python literal; numpy omits commas between elements and writes the name of its array type."""
    if token["string"] is not None:
        return token["string"]
    if token["word"] is not None:
        return _WORDS[token["word"]]
    if token["gap"] is not None:
        return ", "
    return "(" if token["open"] is not None else ")"


def _are_messages(value: Any) -> bool:
    if isinstance(value, dict):
        return bool({"role", "from"} & value.keys()) or isinstance(value.get("messages"), list)
    return isinstance(value, list | tuple) and any(
        isinstance(item, dict) and _are_messages(item) for item in value
    )
