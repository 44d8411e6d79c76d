"""The known layouts of preference rows, a few functions each, and FORMATS, the table of them. No torch here.

Adding a format is writing one function that turns a row into a pair, one that tells the format by a row,
and a line in the table. Both functions get plain values (see `rows.plain`).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypo_engine.rows import (
    Pair,
    RowError,
    Turn,
    answer_of,
    conversation,
    make_pair,
    message,
    optional_text,
    shared_text,
    shared_turns,
    text,
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """A known layout of rows.

    A format with a ``refusal`` is recognised in order to say why it cannot be used and what to do.
    """

    name: str
    title: str
    recognises: Callable[[Row], bool]
    to_pair: Callable[[Row], Pair]
    refusal: str = ""


# TRL and UltraFeedback.


def explicit(prompt: Any, chosen: Any, rejected: Any) -> Pair:
    """A prompt beside the answers; text and messages may be mixed, as UltraFeedback does."""
    prompt = _prompt(prompt)
    if not isinstance(chosen, list) and not isinstance(rejected, list):
        return make_pair(prompt, _answer(chosen, "chosen"), _answer(rejected, "rejected"))
    chosen, rejected = conversation(chosen, "chosen"), conversation(rejected, "rejected")
    if isinstance(prompt, str):
        if len(chosen) > 1 or len(rejected) > 1:
            return _shared_conversation(chosen, rejected)
        prompt = [{"role": "user", "content": prompt}]
    start = len(prompt)
    if chosen[:start] == prompt and rejected[:start] == prompt:
        chosen, rejected = chosen[start:], rejected[start:]
    return make_pair(prompt, answer_of(chosen, "chosen"), answer_of(rejected, "rejected"))


def _prompt(value: Any) -> str | list[Turn]:
    if isinstance(value, list):
        return conversation(value, "prompt")
    return text(value, "prompt")


def _answer(value: Any, name: str) -> Any:
    return message(value, name)["content"] if isinstance(value, dict) else value


def implicit(chosen: Any, rejected: Any) -> Pair:
    """The prompt is what the two answers share at the start."""
    if isinstance(chosen, list) or isinstance(rejected, list):
        return _shared_conversation(conversation(chosen, "chosen"), conversation(rejected, "rejected"))
    chosen, rejected = text(chosen, "chosen"), text(rejected, "rejected")
    if chosen == rejected:
        raise RowError("chosen equals rejected")
    end = shared_text(chosen, rejected)
    if not chosen[:end].strip():
        raise RowError("prompt missing: chosen and rejected share no beginning")
    return make_pair(chosen[:end], chosen[end:], rejected[end:])


def _trl_implicit(row: Row) -> Pair:
    if row.get("prompt") is not None:
        return explicit(row["prompt"], row.get("chosen"), row.get("rejected"))
    return implicit(row.get("chosen"), row.get("rejected"))


def _shared_conversation(chosen: list[Turn], rejected: list[Turn]) -> Pair:
    end = shared_turns(chosen, rejected)
    if end == 0 and len(chosen) > 1:
        raise RowError("prompt missing: chosen and rejected share no turn")
    good, bad = answer_of(chosen[end:], "chosen"), answer_of(rejected[end:], "rejected")
    return make_pair(chosen[:end], good, bad)


def _has(row: Row, *columns: str) -> bool:
    return all(column in row for column in columns)


def _is_ultrafeedback(row: Row) -> bool:
    return _has(row, "prompt", "chosen", "rejected") and (
        isinstance(row["prompt"], str) and isinstance(row["chosen"], list)
    )


def _is_implicit(row: Row) -> bool:
    if not _has(row, "chosen", "rejected") or row.get("prompt") is not None:
        return False
    chosen, rejected = row["chosen"], row["rejected"]
    if isinstance(chosen, list) and isinstance(rejected, list):
        return len(chosen) > 1
    return isinstance(chosen, str) and isinstance(rejected, str) and shared_text(chosen, rejected) > 0


# Anthropic HH.

_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def _transcript(value: Any, name: str) -> list[Turn]:
    """The turns of "\\n\\nHuman: ...\\n\\nAssistant: ..."; a speaker who goes on is one turn."""
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


def _is_hh(row: Row) -> bool:
    return row.get("prompt") is None and all(
        isinstance(value, str) and value.lstrip().startswith("Human:") and "\n\nAssistant:" in value
        for value in (row.get("chosen"), row.get("rejected"))
    )


def _hh(row: Row) -> Pair:
    return _shared_conversation(
        _transcript(row.get("chosen"), "chosen"), _transcript(row.get("rejected"), "rejected")
    )


# OpenAI TL;DR comparisons.


def _tldr(row: Row) -> Pair:
    info, summaries, choice = row.get("info"), row.get("summaries"), row.get("choice")
    if not isinstance(info, dict):
        raise RowError("info: wrong type, an object with the post is needed")
    if not isinstance(summaries, list) or len(summaries) != 2:
        raise RowError("summaries must be a list of two")
    if isinstance(choice, bool) or choice not in (0, 1):
        raise RowError("choice must be 0 or 1")
    answers = [_summary(summary) for summary in summaries]
    return make_pair(_tldr_prompt(info), answers[int(choice)], answers[1 - int(choice)])


def _tldr_prompt(info: Row) -> str:
    """The layout of the paper's Reddit posts and news articles; a blank line would end a field."""
    title = optional_text(info.get("title"), "title")
    post = optional_text(info.get("post"), "post")
    if post:
        subreddit = optional_text(info.get("subreddit"), "subreddit")
        body = post.replace("\n\n", "\n")
        return f"SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {body}\n\nTL;DR:"
    article = text(info.get("article"), "prompt").replace("\n\n", "\n")
    return f"TITLE: {title}\n\n{article}\n\nTL;DR:"


def _summary(value: Any) -> str:
    summary = text(value.get("text") if isinstance(value, dict) else value, "summary")
    return " " + summary.strip()


# AlpacaEval.


def _alpaca_eval(row: Row) -> Pair:
    first, second = text(row.get("output_1"), "output_1"), text(row.get("output_2"), "output_2")
    preference = _preference(row.get("preference"))
    if preference in (0, 1.5):
        raise RowError("the annotation is a tie")
    if not 1 <= preference <= 2:
        raise RowError("preference must lie between 1 (output_1) and 2 (output_2)")
    turns = [{"role": "user", "content": text(row.get("instruction"), "prompt")}]
    return make_pair(turns, first, second) if preference < 1.5 else make_pair(turns, second, first)


def _preference(value: Any) -> float:
    if value is None or value == "":
        raise RowError("no preference: the annotator gave none")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise RowError("preference: wrong type, a number is needed")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise RowError("preference: wrong type, a number is needed") from None


# LLaMA-Factory.


def _alpaca(row: Row) -> Pair:
    instruction, extra = (
        optional_text(row.get("instruction"), "prompt"),
        optional_text(row.get("input"), "input"),
    )
    question = "\n".join(part for part in (instruction, extra) if part)
    turns = [*_system(row), *_history(row.get("history"))]
    turns.append({"role": "user", "content": text(question, "prompt")})
    return make_pair(turns, _answer(row.get("chosen"), "chosen"), _answer(row.get("rejected"), "rejected"))


def _system(row: Row) -> list[Turn]:
    system = optional_text(row.get("system"), "system")
    return [{"role": "system", "content": system}] if system else []


def _history(value: Any) -> Iterator[Turn]:
    if value is None or value == "":
        return
    if not isinstance(value, list):
        raise RowError("history: wrong type, a list of question and answer is needed")
    for exchange in value:
        if not isinstance(exchange, list) or len(exchange) != 2:
            raise RowError("history: wrong type, a list of question and answer is needed")
        yield {"role": "user", "content": text(exchange[0], "history")}
        yield {"role": "assistant", "content": text(exchange[1], "history")}


def _sharegpt(row: Row) -> Pair:
    said = row.get("conversations") if row.get("conversations") is not None else row.get("messages")
    turns = conversation(said, "conversations") if said is not None else []
    if not any(turn["role"] == "system" for turn in turns):
        turns = [*_system(row), *turns]
    chosen, rejected = message(row.get("chosen"), "chosen"), message(row.get("rejected"), "rejected")
    return make_pair(turns, answer_of([chosen], "chosen"), answer_of([rejected], "rejected"))


def _is_sharegpt(row: Row) -> bool:
    return _has(row, "chosen", "rejected") and (
        "conversations" in row or ("messages" in row and isinstance(row["chosen"], dict))
    )


# One answer and a thumb.

_KTO_REFUSAL = (
    "These rows hold one answer with a thumbs-up or a thumbs-down, as KTO takes them, and no pairs: "
    "a thumb on one answer compares it with nothing. Bring two answers to each prompt, "
    "as prompt, chosen and rejected."
)


def _is_kto(row: Row) -> bool:
    return "chosen" not in row and (
        "kto_tag" in row or (_has(row, "label") and ("completion" in row or "messages" in row))
    )


def _kto(_row: Row) -> Pair:
    raise RowError("one answer only, and no pair")


FORMATS: tuple[Format, ...] = (
    Format("kto", "KTO", _is_kto, _kto, _KTO_REFUSAL),
    Format(
        "alpaca_eval",
        "AlpacaEval annotations",
        lambda row: _has(row, "instruction", "output_1", "output_2", "preference"),
        _alpaca_eval,
    ),
    Format("tldr", "TL;DR comparisons", lambda row: _has(row, "info", "summaries", "choice"), _tldr),
    Format("sharegpt", "LLaMA-Factory ShareGPT ranking", _is_sharegpt, _sharegpt),
    Format(
        "alpaca",
        "LLaMA-Factory Alpaca ranking",
        lambda row: _has(row, "instruction", "chosen", "rejected"),
        _alpaca,
    ),
    Format(
        "ultrafeedback",
        "UltraFeedback binarised",
        _is_ultrafeedback,
        lambda row: explicit(row.get("prompt"), row.get("chosen"), row.get("rejected")),
    ),
    Format("hh", "Anthropic HH transcripts", _is_hh, _hh),
    Format("trl_implicit", "TRL preference, implicit prompt", _is_implicit, _trl_implicit),
    Format(
        "trl",
        "TRL preference",
        lambda row: _has(row, "prompt", "chosen", "rejected"),
        lambda row: explicit(row.get("prompt"), row.get("chosen"), row.get("rejected")),
    ),
)
