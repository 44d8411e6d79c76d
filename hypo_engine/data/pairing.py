"""Prompt, system text, history and two answers in any shape -> one pair. No torch here.

All layouts share these rules: a prompt that the answers repeat is removed from them, a prompt next to whole
conversations must be their question, and a system text becomes the first turn.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypo_engine.data.made import make_pair, make_single
from hypo_engine.data.pair import Pair, Turn
from hypo_engine.data.rows import (
    RowError,
    answer_of,
    conversation,
    is_message,
    message,
    optional_text,
    plain,
    shared_text,
    shared_turns,
    text,
)
from hypo_engine.data.written import written_list

SHORT_PROMPT_WORDS = 3
"""An answer may begin with a shorter prompt by chance ("Hello"), in which case the other rows decide."""

_SPEAKER = re.compile(r"(?:\r?\n){2}(Human|Assistant):")
_ANSWER = re.compile(r"(?:\r?\n){2}Assistant:")

Spoken = str | list[Turn]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a layout finds in a row, unchanged.

    Args:
        conversational: a text prompt is a user's turn, not a text to continue.
        shared_text: without a prompt column, answers that are not transcripts begin with their common prompt.
        good: of a row with one answer, which is chosen and rejected alike here, whether it was judged good.
        chosen_side, rejected_side: the words that distinguish the answers' columns if a winner is named; see
            `scores.score_of`.
    """

    prompt: Any
    chosen: Any
    rejected: Any
    system: Any = None
    history: Any = None
    conversational: bool = False
    shared_text: bool = False
    good: bool | None = None
    chosen_side: str = ""
    rejected_side: str = ""


def assemble(parts: Parts, *, prompts_are_repeated: bool = False) -> Pair:
    """Make a pair of its parts.

    Args:
        prompts_are_repeated: the file's answers begin with their prompts, even short ones.

    Raises:
        RowError: they make no pair; the message says why.
    """
    prompt = None if parts.prompt is None else spoken(parts.prompt, "prompt")
    chosen, rejected = _answers(prompt, parts)
    if parts.good is not None and prompt is None:
        raise RowError("prompt missing")
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        prompt, chosen, rejected = _of_conversations(prompt, _turns(chosen), _turns(rejected))
    elif prompt is None:
        prompt, chosen, rejected = _shared_beginning(chosen, rejected, parts)
    elif begins_with_prompt(prompt, chosen, rejected) and (prompts_are_repeated or not is_short(prompt)):
        chosen, rejected = (_without(asked(prompt), answer) for answer in (chosen, rejected))
    if parts.good is not None:
        return make_single(_in_context(prompt, parts), chosen, good=parts.good)
    return make_pair(_in_context(prompt, parts), chosen, rejected)


def spoken(value: Any, name: str) -> Spoken:
    """A text unchanged, or the turns of one or several messages."""
    if isinstance(value, list) or is_message(value):
        return conversation(value, name)
    return text(value, name)


def _turns(answer: Spoken) -> list[Turn]:
    return [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer


def _answers(prompt: Spoken | None, parts: Parts) -> tuple[Spoken, Spoken]:
    """Both answers; transcripts become conversations, unless they repeat a prompt that is a transcript."""
    chosen, rejected = spoken(parts.chosen, "chosen"), spoken(parts.rejected, "rejected")
    if is_transcript(chosen) and is_transcript(rejected) and not _begin_with(prompt, chosen, rejected):
        return transcript(chosen, "chosen"), transcript(rejected, "rejected")
    return chosen, rejected


# Answers that contain their prompt.


def asked(prompt: Spoken) -> str:
    """The text that answers may repeat: that of a plain or one-turn prompt."""
    if isinstance(prompt, str):
        return prompt.strip()
    return prompt[0]["content"].strip() if len(prompt) == 1 else ""


def is_short(prompt: Spoken) -> bool:
    """Whether the prompt is so short that an answer may begin with it by chance."""
    return len(asked(prompt).split()) < SHORT_PROMPT_WORDS


def begins_with_prompt(prompt: Spoken, chosen: str, rejected: str) -> bool:
    """Whether both answers begin with the whole prompt and continue after it."""
    said = asked(prompt)
    return bool(said) and all(
        answer.lstrip().startswith(said) and len(answer.strip()) > len(said) for answer in (chosen, rejected)
    )


def _begin_with(prompt: Spoken | None, chosen: Spoken, rejected: Spoken) -> bool:
    both_texts = isinstance(chosen, str) and isinstance(rejected, str)
    return both_texts and isinstance(prompt, str) and begins_with_prompt(prompt, str(chosen), str(rejected))


def _without(said: str, answer: str) -> str:
    return answer.lstrip()[len(said) :]


# Answers that are whole conversations.


def _of_conversations(
    prompt: Spoken | None, chosen: list[Turn], rejected: list[Turn]
) -> tuple[list[Turn], str, str]:
    end = shared_turns(chosen, rejected)
    if not prompt:
        if end == 0 and len(chosen) > 1:
            raise RowError("prompt missing: chosen and rejected have no turn in common")
        return chosen[:end], answer_of(chosen[end:], "chosen"), answer_of(rejected[end:], "rejected")
    before = _as_turns(prompt)
    good, bad = _after(before, chosen), _after(before, rejected)
    alone = not any(turns and turns[0]["role"] != "assistant" for turns in (chosen, rejected))
    if not (len(good) == len(bad) == 1 or alone):
        shared = chosen[:end]
        if not shared or not _agree(prompt, before, shared):
            raise RowError("the prompt is not the question of the conversation in chosen and rejected")
        before = before if _ends_with(before, shared) else shared
        good, bad = chosen[end:], rejected[end:]
    return before, answer_of(good, "chosen"), answer_of(bad, "rejected")


def _after(before: Sequence[Turn], answer: list[Turn]) -> list[Turn]:
    return answer[len(before) :] if _begins_with(answer, before) else answer


def _agree(prompt: Spoken, before: list[Turn], shared: list[Turn]) -> bool:
    """Whether a prompt, as turns or as text, is a conversation's question or the conversation up to it."""
    if _begins_with(shared, before) or _ends_with(shared, before) or _ends_with(before, shared):
        return True
    if not isinstance(prompt, str):
        return False
    said = [_squeezed(turn["content"]) for turn in shared if turn["role"] == "user"]
    whole = _squeezed(prompt)
    in_lines = f"\n{prompt.strip()}\n" in f"\n{shared[-1]['content'].strip()}\n"
    rendered = all(_stands_in(whole, turn["content"]) for turn in shared if turn["role"] != "system")
    return whole in said or in_lines or rendered


def _begins_with(turns: Sequence[Turn], start: Sequence[Turn]) -> bool:
    return len(start) <= len(turns) and all(map(_same, start, turns))


def _ends_with(turns: Sequence[Turn], end: Sequence[Turn]) -> bool:
    return len(end) <= len(turns) and all(map(_same, end, turns[len(turns) - len(end) :]))


def _same(one: Turn, other: Turn) -> bool:
    return one["role"] == other["role"] and one["content"].strip() == other["content"].strip()


def _stands_in(whole: str, part: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(_squeezed(part))}(?!\w)", whole) is not None


def _squeezed(value: str) -> str:
    return " ".join(value.split())


# Answers that are one text each.


def _shared_beginning(chosen: str, rejected: str, parts: Parts) -> tuple[str, str, str]:
    if chosen.strip() == rejected.strip():
        raise RowError("chosen equals rejected")
    if not parts.shared_text:
        raise RowError("prompt missing: chosen and rejected are neither messages nor transcripts")
    end = shared_text(chosen, rejected)
    if not chosen[:end].strip():
        raise RowError("prompt missing: chosen and rejected have no common beginning")
    return chosen[:end], chosen[end:], rejected[end:]


def is_transcript(value: Spoken) -> bool:
    """Whether a text is a conversation as Anthropic HH writes it: "\\n\\nHuman: ...\\n\\nAssistant: ..."."""
    return (
        isinstance(value, str) and value.lstrip().startswith("Human:") and _ANSWER.search(value) is not None
    )


def transcript(value: Spoken, name: str) -> list[Turn]:
    """The turns of a transcript; consecutive parts of one speaker are joined."""
    before, *parts = _SPEAKER.split("\n\n" + text(value, name).lstrip())
    if before.strip() or not parts:
        raise RowError(f"{name}: a transcript that does not begin with Human: or Assistant:")
    turns: list[Turn] = []
    for speaker, said in zip(parts[::2], parts[1::2], strict=True):
        role = "user" if speaker == "Human" else "assistant"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] = f"{turns[-1]['content']}\n\n{said.strip()}".strip()
        else:
            turns.append({"role": role, "content": said.strip()})
    return turns


# What precedes the prompt.


def _in_context(prompt: Spoken, parts: Parts) -> Spoken:
    """The prompt with its system text and history; with either, a text prompt becomes a user's turn."""
    system, history = _system(parts.system), list(_history(parts.history))
    if not (parts.conversational or system or history):
        return prompt
    turns = _as_turns(prompt)
    if turns[:1] and turns[0]["role"] == "system":
        if system and turns[0]["content"].strip() != system.strip():
            raise RowError("the system column is not the conversation's system turn")
        system, turns = turns[0]["content"], turns[1:]
    if not _begins_with(turns, history):
        turns = [*history, *turns]
    return [{"role": "system", "content": system}, *turns] if system else turns


def _as_turns(prompt: Spoken) -> list[Turn]:
    if not isinstance(prompt, str):
        return prompt
    if not is_transcript(prompt):
        return [{"role": "user", "content": prompt}]
    turns = transcript(prompt, "prompt")
    return turns if turns[-1]["content"] else turns[:-1]


def _system(value: Any) -> str:
    if isinstance(value, dict):
        value = message(value, "system")["content"]
    return optional_text(value, "system")


def _history(value: Any) -> Iterator[Turn]:
    """Turns before the question: messages, or pairs of a question and its answer."""
    if value is None or value == "" or value == []:
        return
    value = plain(written_list(value))
    if not isinstance(value, list):
        raise RowError("history: wrong type, a list of question and answer is needed")
    if isinstance(value[0], dict):
        yield from conversation(value, "history")
        return
    for exchange in value:
        if not isinstance(exchange, list) or len(exchange) != 2:
            raise RowError("history: wrong type, a list of question and answer is needed")
        yield {"role": "user", "content": text(exchange[0], "history")}
        yield {"role": "assistant", "content": text(exchange[1], "history")}
