"""Arena layouts that a column mapping cannot express. No torch here.

open-webui exports a rating together with its whole chat. LMArena's contest data has one column per outcome.
"""

from typing import Any

from hypo_engine.data.pair import Turn
from hypo_engine.data.pairing import Parts
from hypo_engine.data.rows import Row, RowError, is_empty
from hypo_engine.data.verdicts import normal
from hypo_engine.data.written import read_literal

ONE_HOT = ("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b")


def one_hot(row: Row) -> Parts:
    """One column per outcome, exactly one of them 1; the texts may be lists with one entry per turn."""
    won = [normal(row.get(column) or 0) in ("1", "true") for column in ONE_HOT[3:]]
    row.get("winner_tie")
    if won[0] == won[1]:
        raise RowError("a tie: neither answer is preferred")
    asked = _texts(row.get("prompt"))
    first, second = (_conversation(asked, _texts(row.get(column))) for column in ONE_HOT[1:3])
    chosen, rejected = (first, second) if won[0] else (second, first)
    return Parts(None, chosen, rejected)


def _texts(value: Any) -> list[Any]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = read_literal(value)
        except ValueError:
            raise RowError("a list of turns that cannot be read") from None
    return value if isinstance(value, list) else [value]


def _conversation(asked: list[Any], answered: list[Any]) -> list[Turn]:
    if len(asked) != len(answered):
        raise RowError("the prompt and an answer have different numbers of turns")
    roles = ("user", "assistant")
    exchanges = zip(asked, answered, strict=True)
    return [
        {"role": role, "content": said}
        for exchange in exchanges
        for role, said in zip(roles, exchange, strict=True)
    ]


def is_open_webui(row: Row) -> bool:
    """Whether a row is an open-webui rating with its chat."""
    data, meta = row.peek("data"), row.peek("meta")
    return "snapshot" in row and isinstance(data, dict) and "rating" in data and isinstance(meta, dict)


def open_webui(row: Row) -> Parts:
    """The rated answer and its alternative.

    Raises:
        RowError: there is no thumb, not exactly two answers, or the chat does not contain them.
    """
    data, meta = row.take("data"), row.take("meta")
    rating = data.get("rating") if isinstance(data, dict) else None
    if isinstance(rating, bool) or rating not in (1, -1):
        raise RowError("the rating is neither a thumb up nor a thumb down")
    messages = _messages(row.take("snapshot"))
    rated = messages.get(str(meta.get("message_id"))) if isinstance(meta, dict) else None
    if not isinstance(rated, dict):
        raise RowError("the chat does not contain the rated answer")
    asked = messages.get(str(rated.get("parentId")))
    answers = asked.get("childrenIds") if isinstance(asked, dict) else None
    listed = answers if isinstance(answers, list) else []
    others = [messages.get(str(key)) for key in listed if messages.get(str(key)) is not rated]
    if len(others) != 1 or not isinstance(others[0], dict):
        raise RowError(f"{len(others)} other answers to the question; a pair needs one")
    before = _before(rated, messages)
    chosen, rejected = (rated, others[0]) if rating == 1 else (others[0], rated)
    return Parts(before, [chosen], [rejected], conversational=True)


def _messages(snapshot: Any) -> dict[str, Any]:
    chat = snapshot
    while isinstance(chat, dict) and "history" not in chat:
        chat = chat.get("chat")
    history = chat.get("history") if isinstance(chat, dict) else None
    messages = history.get("messages") if isinstance(history, dict) else None
    if not isinstance(messages, dict) or is_empty(messages):
        raise RowError("snapshot holds no messages")
    return messages


def _before(rated: dict[str, Any], messages: dict[str, Any]) -> list[Any]:
    """The turns before an answer, in order."""
    turns: list[Any] = []
    at = messages.get(str(rated.get("parentId")))
    while isinstance(at, dict) and len(turns) < len(messages):
        turns.insert(0, at)
        at = messages.get(str(at.get("parentId")))
    return turns
