"""Thoughts that a model writes before its answer: how they are marked. No torch here."""

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
"""What opens a thought, and what closes it."""

_TAG: Final = re.compile(
    r"[<◁](\|?/\|?|\|?end_|\|?)"
    r"([\w:.-]*(?:think|thought|reason|reflect|scratchpad|monologue)[\w:.-]*)\|?[>▷]",
    re.IGNORECASE,
)
"""A tag by whose name it holds a thought, in a family that is not listed; one with / or end_ closes it."""

_PROMPTING: Final = "prompting.json"


def opened_thought(text: str, said: str = "") -> str:
    """The last mark by which a text opens a thought that it does not close; "" if there is none.

    Args:
        said: What the user says: before it no thought is opened.
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
    """What closes an empty thought, as templates write it when thinking is switched off."""
    return f"\n\n{_closing(mark)}\n\n"


def holds_thought(answer: str) -> bool:
    """Whether an answer holds a thought that was closed."""
    closed = any(closing in answer for closing in _MARKS.values())
    return closed or any(_closes(found) for found in _TAG.finditer(answer))


def without_thought(answer: str) -> str:
    """An answer from where its last closed thought ends."""
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
    """An answer without the mark that its prompt has written already."""
    begun = answer.lstrip()
    return begun.removeprefix(mark).lstrip("\n") if mark and begun.startswith(mark) else answer


def leaves_room(setting: Thinking, answers: Iterable[str]) -> bool:
    """Whether prompts leave room for thoughts: as set, or, by itself, where most answers hold some."""
    if setting is not Thinking.AUTO:
        return setting is Thinking.ON
    found = [holds_thought(answer) for answer in answers]
    return 2 * sum(found) > len(found)


def note_thinking(folder: Path, *, thinking: bool) -> None:
    """Write beside a run's weights that its prompts leave room for thoughts; nothing where they do not."""
    if thinking:
        (folder / _PROMPTING).write_text(json.dumps({"enable_thinking": True}), encoding="utf-8")


def leaves_room_for_thoughts(folder: Path) -> bool:
    """Whether the weights in a folder were trained with prompts that leave room for thoughts."""
    try:
        return json.loads((folder / _PROMPTING).read_text(encoding="utf-8"))["enable_thinking"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False
