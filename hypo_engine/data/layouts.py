"""The known layouts of preference rows and FORMATS, their table. No torch here.

To add a format, write a function that finds the parts of a pair in a row, a function that recognises the
format, and a line in the table. `pairing.assemble` makes a pair of the parts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypo_engine.data.arenas import ONE_HOT, is_open_webui, one_hot, open_webui
from hypo_engine.data.columns import ANSWERS, CONVERSATIONS, HISTORIES, QUESTIONS, SYSTEMS, columns_of, key
from hypo_engine.data.mapping import LMARENA
from hypo_engine.data.pairing import Parts, is_transcript
from hypo_engine.data.rows import Row, RowError, listed, optional_text, text
from hypo_engine.data.weights import MARGIN, WEIGHT


@dataclass(frozen=True, slots=True)
class Format:
    """A known layout of rows."""

    name: str
    title: str
    recognises: Callable[[Row], bool]
    to_parts: Callable[[Row], Parts]

    maps = False


# Columns with telling names: TRL, UltraFeedback, Anthropic HH, LLaMA-Factory.


def named(row: Row) -> Parts:
    """Find the parts by the names of their columns."""
    chosen, rejected = _answer_columns(row) or ANSWERS[0]
    good, bad = row.get(chosen), row.get(rejected)
    column = _prompt_column(row, good)
    return Parts(
        prompt=row[column] if column else None,
        chosen=good,
        rejected=bad,
        system=system_of(row),
        history=history_of(row),
        conversational=key(column) in QUESTIONS or bool(columns_of(row, (*SYSTEMS, *HISTORIES))),
    )


def system_of(row: Row) -> Any:
    """The system text of a row, under any known column name.

    Raises:
        RowError: two columns say different things.
    """
    return _said_once(row, SYSTEMS, "system")


def history_of(row: Row) -> Any:
    """The turns before a row's question, under any known column name.

    Raises:
        RowError: two columns say different things.
    """
    return _said_once(row, HISTORIES, "history")


def _said_once(row: Row, names: tuple[str, ...], what: str) -> Any:
    found = [row[column] for column in columns_of(row, names) if row.holds(column)]
    if any(other != found[0] for other in found[1:]):
        raise RowError(f"the {what} columns contradict each other")
    return found[0] if found else None


def _answer_columns(row: Row) -> tuple[str, str] | None:
    return next(((a, b) for a, b in ANSWERS if a in row and b in row), None)


def _prompt_column(row: Row, chosen: Any) -> str:
    """The prompt's column; "" if only the answers can contain the prompt.

    Raises:
        RowError: several columns could be the prompt.
    """
    if row.holds("prompt"):
        return "prompt"
    asking = [column for column in columns_of(row, QUESTIONS) if row.holds(column)]
    if len(asking) > 1:
        raise RowError(f"{' and '.join(asking)} could each be the prompt; choose one in a mapping")
    whole = _is_conversation(chosen)
    said = [] if whole else [column for column in columns_of(row, CONVERSATIONS) if row.holds(column)]
    return next(iter(asking + said), "prompt" if row.get("prompt") is not None else "")


def _has(row: Row, *columns: str) -> bool:
    return all(column in row for column in columns)


def _is_ultrafeedback(row: Row) -> bool:
    return (
        _has(row, "prompt", "chosen", "rejected")
        and isinstance(row.peek("prompt"), str)
        and isinstance(row.peek("chosen"), list)
    )


def _is_implicit(row: Row) -> bool:
    columns = _answer_columns(row)
    if columns is None or row.peek("prompt") is not None or _asks(row):
        return False
    chosen, rejected = (row.peek(column) for column in columns)
    return _is_conversation(chosen) and isinstance(listed(rejected), list)


def _is_conversation(value: Any) -> bool:
    turns = listed(value)
    return isinstance(turns, list) and len(turns) > 1


def _asks(row: Row) -> bool:
    return sum(row.holds(column) for column in columns_of(row, QUESTIONS)) == 1


def _is_hh(row: Row) -> bool:
    return row.peek("prompt") is None and all(
        is_transcript(row.peek(name)) for name in ("chosen", "rejected")
    )


def _is_sharegpt(row: Row) -> bool:
    return _has(row, "chosen", "rejected") and (
        "conversations" in row or ("messages" in row and isinstance(row.peek("chosen"), dict))
    )


def _is_question(row: Row) -> bool:
    said = any(
        isinstance(listed(row.peek(name)), list) and row.holds(name)
        for name in columns_of(row, CONVERSATIONS)
    )
    return _answer_columns(row) is not None and (_asks(row) or said)


def _alpaca(row: Row) -> Parts:
    return _instructed(row, row.get("chosen"), row.get("rejected"))


_ALPACA_V0 = frozenset({"instruction", "input", "output", "system", "history", WEIGHT, MARGIN})


def _is_alpaca_v0(row: Row) -> bool:
    """Two outputs, the better one first; any further column might say otherwise."""
    return (
        _has(row, "instruction", "input")
        and _ALPACA_V0.issuperset(map(key, row))
        and _are_two(row.peek("output"))
    )


def _are_two(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) for each in value)


def _alpaca_v0(row: Row) -> Parts:
    output = row.get("output")
    if not isinstance(output, list) or not _are_two(output):
        raise RowError("output must be a list of two texts, the chosen and the rejected answer")
    return _instructed(row, *output)


def _instructed(row: Row, chosen: Any, rejected: Any) -> Parts:
    asked = (optional_text(row.get("instruction"), "prompt"), optional_text(row.get("input"), "input"))
    return Parts(
        prompt=text("\n".join(part for part in asked if part), "prompt"),
        chosen=chosen,
        rejected=rejected,
        system=system_of(row),
        history=history_of(row),
        conversational=True,
    )


# ms-swift: the chosen answer is the conversation's last turn.


def _is_swift(row: Row) -> bool:
    return ("rejected_response" in row and ("messages" in row or "response" in row)) or _has(
        row, "messages", "rejected_messages"
    )


def _swift(row: Row) -> Parts:
    rejected = "rejected_messages" if row.holds("rejected_messages") else "rejected_response"
    said = listed(row.get("messages"))
    if said is None:
        asked = next((column for column in ("query", "prompt", "instruction") if row.holds(column)), "query")
        prompt, chosen = row.get(asked), row.get("response")
    elif not isinstance(said, list) or len(said) < 2:
        raise RowError("messages must hold the question and, as the last turn, the chosen answer")
    else:
        prompt, chosen = said[:-1], said[-1:]
    return Parts(
        prompt=prompt,
        chosen=chosen,
        rejected=row.get(rejected),
        system=system_of(row),
        history=history_of(row),
        conversational=True,
    )


# LMArena.


def _lmarena(row: Row) -> Parts:
    return replace(LMARENA.to_parts(row), system=system_of(row), history=history_of(row))


# OpenAI: preference fine-tuning, and the comparisons of TL;DR.


def _openai(row: Row) -> Parts:
    asked = row.inside("input")
    return Parts(asked.get("messages"), row.get("preferred_output"), row.get("non_preferred_output"))


def _tldr(row: Row) -> Parts:
    summaries, choice = row.get("summaries"), row.get("choice")
    asked = _tldr_prompt(row.inside("info"))
    if not isinstance(summaries, list) or len(summaries) != 2:
        raise RowError("summaries must be a list of two")
    if isinstance(choice, bool) or choice not in (0, 1):
        raise RowError("choice must be 0 or 1")
    answers = [_summary(summary) for summary in summaries]
    return Parts(asked, answers[int(choice)], answers[1 - int(choice)])


def _tldr_prompt(info: Row) -> str:
    """The prompt layout of the paper's Reddit posts and news articles; a blank line would end a field."""
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


def _alpaca_eval(row: Row) -> Parts:
    first, second = text(row.get("output_1"), "output_1"), text(row.get("output_2"), "output_2")
    preference = _preference(row.get("preference"))
    if preference in (0, 1.5):
        raise RowError("the annotation is a tie")
    if not 1 <= preference <= 2:
        raise RowError("preference must lie between 1 (output_1) and 2 (output_2)")
    sides = ("1", "2") if preference < 1.5 else ("2", "1")
    answers = (first, second) if preference < 1.5 else (second, first)
    return Parts(
        row.get("instruction"),
        *answers,
        system=system_of(row),
        conversational=True,
        chosen_side=sides[0],
        rejected_side=sides[1],
    )


def _preference(value: Any) -> float:
    if value is None or value == "":
        raise RowError("no preference: the annotator gave none")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise RowError("preference: wrong type, a number is needed")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise RowError("preference: wrong type, a number is needed") from None


# One answer and a thumb.

_THUMBS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_ONE_ANSWER = ("completion", "response", "output")


def _is_kto(row: Row) -> bool:
    """Whether a row is KTO's; a label that is no thumb, or a rejected answer, means another format."""
    if any(map(row.holds, ("chosen", "rejected", "rejected_response", "rejected_messages"))):
        return False
    thumb = str(row.peek("label")).casefold() in _THUMBS
    return "kto_tag" in row or (thumb and ("completion" in row or "messages" in row))


def _kto(row: Row) -> Parts:
    """The answer of TRL's `prompt, completion, label`, or the last turn of LLaMA-Factory's conversations."""
    column = "kto_tag" if row.holds("kto_tag") else "label"
    thumb = str(row.get(column)).casefold()
    if thumb not in _THUMBS:
        raise RowError(f"{column} must be true or false")
    answer = next((row[name] for name in _ONE_ANSWER if row.holds(name)), None)
    if answer is not None and row.holds("instruction"):
        return replace(_instructed(row, answer, answer), good=_THUMBS[thumb])
    asked = _prompt_column(row, answer) if answer is not None else ""
    prompt = row[asked] if asked else None
    if not asked:
        prompt, answer = _question_and_answer(row, answer)
    return Parts(
        prompt=prompt,
        chosen=answer,
        rejected=answer,
        system=system_of(row),
        history=history_of(row),
        conversational=key(asked) in QUESTIONS,
        good=_THUMBS[thumb],
    )


def _question_and_answer(row: Row, answer: Any) -> tuple[Any, Any]:
    """A whole conversation, in a column of its own or as the answer, without its last turn, and that turn."""
    whole = answer
    if whole is None:
        whole = next((row[name] for name in columns_of(row, CONVERSATIONS) if row.holds(name)), None)
    turns = listed(whole)
    if not isinstance(turns, list) or len(turns) < 2:
        raise RowError("prompt missing: the answer is neither beside a prompt nor in a conversation")
    return turns[:-1], turns[-1:]


FORMATS: tuple[Format, ...] = (
    Format("kto", "KTO: one answer with a thumb", _is_kto, _kto),
    Format(
        "alpaca_eval",
        "AlpacaEval annotations",
        lambda row: _has(row, "instruction", "output_1", "output_2", "preference"),
        _alpaca_eval,
    ),
    Format("tldr", "TL;DR comparisons", lambda row: _has(row, "info", "summaries", "choice"), _tldr),
    Format("lmarena", "LMArena votes", lambda row: _has(row, *LMARENA.columns), _lmarena),
    Format("one_hot", "LMArena votes, a column an outcome", lambda row: _has(row, *ONE_HOT), one_hot),
    Format("open_webui", "open-webui ratings", is_open_webui, open_webui),
    Format(
        "openai",
        "OpenAI preference fine-tuning",
        lambda row: (
            _has(row, "preferred_output", "non_preferred_output") and isinstance(row.peek("input"), dict)
        ),
        _openai,
    ),
    Format("ms_swift", "ms-swift preference", _is_swift, _swift),
    Format(
        "llama_factory_v1",
        "LLaMA-Factory v1 preference",
        lambda row: _has(row, "chosen_messages", "rejected_messages"),
        named,
    ),
    Format("sharegpt", "LLaMA-Factory ShareGPT ranking", _is_sharegpt, named),
    Format(
        "alpaca",
        "LLaMA-Factory Alpaca ranking",
        lambda row: _has(row, "instruction", "chosen", "rejected") and row.peek("prompt") is None,
        _alpaca,
    ),
    Format("alpaca_v0", "LLaMA-Factory v0 ranking", _is_alpaca_v0, _alpaca_v0),
    Format("ultrafeedback", "UltraFeedback binarised", _is_ultrafeedback, named),
    Format("hh", "Anthropic HH transcripts", _is_hh, named),
    Format("trl_implicit", "TRL preference, implicit prompt", _is_implicit, named),
    Format("trl", "TRL preference", lambda row: _has(row, "prompt", "chosen", "rejected"), named),
    Format("question", "A question and two answers", _is_question, named),
)
