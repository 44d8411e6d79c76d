"""Thoughts that a model writes before its answer, and the tags around them. No torch here."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hypo_engine.choices import Thinking

_MARKS: Final = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "<longcat_think>": "</longcat_think>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "◁think▷": "◁/think▷",
}
"""Opening and closing tags of a thought."""

_TAG: Final = re.compile(
    r"[<◁](\|?/\|?|\|?end_|\|?)"
    r"([\w:.-]*(?:think|thought|reason|reflect|scratchpad|monologue)[\w:.-]*)\|?[>▷]",
    re.IGNORECASE,
)
"""A tag that is named like a thought, for families that are not listed; with / or end_ it is a closing tag.
"""

_PROMPTING: Final = "prompting.json"


def opened_thought(text: str, said: str = "") -> str:
    """The last opening tag of a thought that the text does not close; "" if there is none.

    Args:
        said: The user's text; only what follows it is searched.
    """
    places = [(text.rfind(mark), mark) for mark in _MARKS if mark in text]
    places += [(found.start(), found[0]) for found in _TAG.finditer(text) if not _closes(found)]
    for place, mark in sorted(places, reverse=True):
        if said and said in text[place + len(mark) :]:
            break
        if _closing(mark) not in text[place:]:
            return mark
    return ""


def close_thought(mark: str) -> str:
    """The text that closes an empty thought, as templates write it when thinking is switched off."""
    return f"\n\n{_closing(mark)}\n\n"


def holds_thought(answer: str) -> bool:
    """Whether an answer contains a complete thought."""
    closed = any(closing in answer for closing in _MARKS.values())
    return closed or any(_closes(found) for found in _TAG.finditer(answer))


def without_thought(answer: str) -> str:
    """The answer after its last complete thought."""
    ends = [answer.rfind(mark) + len(mark) for mark in _MARKS.values() if mark in answer]
    ends += [found.end() for found in _TAG.finditer(answer) if _closes(found)]
    return answer[max(ends, default=0) :]


def _closes(tag: re.Match[str]) -> bool:
    return "/" in tag[1] or "end_" in tag[1].lower()


def _closing(mark: str) -> str:
    if mark in _MARKS:
        return _MARKS[mark]
    ended = re.sub(r"(?i)^([<◁]\|?)(begin|start)_", r"\1end_", mark)
    return ended if ended != mark else re.sub(r"^[<◁]\|?", r"\g<0>/", mark)


def without_mark(answer: str, mark: str) -> str:
    """The answer without an opening tag that its prompt already contains."""
    begun = answer.lstrip()
    return begun.removeprefix(mark).lstrip("\n") if mark and begun.startswith(mark) else answer


def leaves_room(setting: Thinking, answers: Iterable[str]) -> bool:
    """Whether prompts leave thinking to the model: as configured, or if most answers contain thoughts."""
    if setting is not Thinking.AUTO:
        return setting is Thinking.ON
    found = [holds_thought(answer) for answer in answers]
    return 2 * sum(found) > len(found)


def note_thinking(folder: Path, *, thinking: bool) -> None:
    """Record next to a run's weights that its prompts leave thinking to the model; a no-op if they do not."""
    if thinking:
        (folder / _PROMPTING).write_text(json.dumps({"enable_thinking": True}), encoding="utf-8")


def leaves_room_for_thoughts(folder: Path) -> bool:
    """Whether the weights in a folder were trained with prompts that leave thinking to the model."""
    try:
        return json.loads((folder / _PROMPTING).read_text(encoding="utf-8"))["enable_thinking"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False
