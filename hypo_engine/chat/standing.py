"""Whether a rendered prompt contains every turn of its conversation, unaltered, in order. No torch here."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hypo_engine.chat.thinking import without_thought

HARD: Final = {
    "capital letters": "What is NATO, and who is iN it?",
    "markup": "Is <b>this</b> & \"that\" 'so'? {{ a }} {% b %} \\n 100 %",
    "several lines": "One line\n\n    and  another,\n\tand a third.\n\nThe end.",
    "letters beyond ASCII": "Zürich, Łódź, «Москва», 東京 and 🙂?",
    "a long text": "".join(f"Here is sentence {i} of a long question. " for i in range(250)).strip(),
}
"""Questions that templates are prone to alter, cut or drop, by the reason."""

_TOLD: Final = ("system", "developer")
_DIRECTIVE: Final = re.compile(r"/(?:no_?think|think|system_override)\b")
"""Directives that some templates act on and remove from a turn (SmolLM3, Nemotron)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the turns of a conversation stand in its rendered prompt.

    Attributes:
        lost: The role of the turn that is missing or altered, or "earlier" for a user turn that is not the
            last; "" if none is.
        end: Where the last turn ends.
    """

    lost: str
    end: int


def standing(turns: Sequence[Mapping[str, str]], text: str) -> Standing:
    """Find the turns of a conversation in its rendered prompt.

    White space around a turn is ignored, and so is a thought at the start of an earlier answer. A system turn
    may stand elsewhere: some templates write it before the last question (Mistral).
    """
    found = _follow(turns, text, anywhere=())
    return found if not found.lost else _follow(turns, text, anywhere=_TOLD)


def marked(roles: Sequence[str]) -> list[dict[str, str]]:
    """A conversation with these roles whose turns all differ."""
    return [{"role": role, "content": f"marked-{i}-{role}-text"} for i, role in enumerate(roles)]


def _follow(turns: Sequence[Mapping[str, str]], text: str, *, anywhere: Sequence[str]) -> Standing:
    end = 0
    for i, turn in enumerate(turns):
        role = turn["role"]
        past = _past(turn, text, 0 if role in anywhere else end)
        if past < 0:
            return Standing("earlier" if role == "user" and i < len(turns) - 1 else role, end)
        end = end if role in anywhere else past
    return Standing("", end)


def _past(turn: Mapping[str, str], text: str, start: int) -> int:
    """The end of the first match of a turn at or after ``start``; -1 if there is none."""
    said = turn["content"].strip()
    place = text.find(said, start)
    if place < 0:
        said = (without_thought(said) if turn["role"] == "assistant" else _DIRECTIVE.sub("", said)).strip()
        place = text.find(said, start)
    return place + len(said) if place >= 0 else -1
