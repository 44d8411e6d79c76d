"""Answers of a contender that were written elsewhere: read from a file, or given as rows.

A row has a prompt and an answer. Rows with the same prompt are its samples.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from app.campaign_prompts import checked_one, prompt_of_row
from app.errors import InvalidInput
from app.imports.readers import Limits, open_rows
from app.settings import get_settings
from app.store.campaign_items import CampaignPrompt, GivenAnswers
from app.store.campaigns import MAX_NAME_CHARS
from app.text import clean_name, clean_text
from hypo_engine.data.rows import RowError, conversation, text

COLUMNS: Final = ("answer", "response", "completion", "output")
"""Columns that may hold an answer; the first that a row has is read. Messages may end with the answer."""

MAX_ROWS: Final = 20_000
MAX_ANSWER_CHARS: Final = 100_000
SHOWN_MISSING: Final = 3
SHOWN_CHARS: Final = 60


def of_file(path: Path, file_name: str, *, name: str = "") -> GivenAnswers:
    """The answers of a file.

    Args:
        name: the contender's name; the file's name without its extension if empty.

    Raises:
        InvalidInput: for a file without answers, or with a row that cannot be read; the sentence names it.
    """
    name = name or file_name.removesuffix(".gz").rpartition(".")[0] or file_name
    if file_name.lower().endswith(".txt"):
        raise InvalidInput(
            f"{file_name} has no columns; give answers as JSONL, JSON, CSV, Parquet or Excel with the "
            "columns prompt and answer.",
            field="answers",
        )
    try:
        with open_rows(path, Limits.of(get_settings())) as rows:
            return of_rows(name, rows)
    except InvalidInput as error:
        raise InvalidInput(f"{file_name}: {error}", field="answers") from error


def of_rows(name: str, rows: Iterable[tuple[int, Any]]) -> GivenAnswers:
    """The answers of numbered rows.

    Raises:
        InvalidInput: for a name that cannot be shown, for no or too many rows, and for a row without a prompt
            or an answer; the sentence names it.
    """
    prompts: dict[str, CampaignPrompt] = {}
    texts: dict[str, list[str]] = {}
    for count, (number, row) in enumerate(rows, start=1):
        if count > MAX_ROWS:
            raise InvalidInput(f"There are more than {MAX_ROWS:,} answers; give fewer.", field="answers")
        try:
            prompt = checked_one(prompt_of_row(number, row), f"Row {number}: the prompt")
            answer = _answer(number, row)
        except InvalidInput as error:
            raise InvalidInput(str(error), field="answers") from error
        prompts.setdefault(prompt.key, prompt)
        texts.setdefault(prompt.key, []).append(answer)
    if not texts:
        raise InvalidInput("There are no answers; a row needs a prompt and an answer.", field="answers")
    return GivenAnswers(_checked_name(name), prompts, texts)


def _checked_name(name: str) -> str:
    name = clean_name(name)
    if not name or len(name) > MAX_NAME_CHARS:
        raise InvalidInput(
            f"A contender needs a name of 1 to {MAX_NAME_CHARS} characters; {name[:40]!r} is none.",
            field="answers",
        )
    return name


def _answer(number: int, row: Any) -> str:
    try:
        said = _said(row)
    except RowError as error:
        raise InvalidInput(
            f"Row {number}: {error}; write what the model said, or leave the row out."
        ) from error
    if said is None:
        raise InvalidInput(
            f"Row {number} has no answer; an answer is in one of the columns {', '.join(COLUMNS)}, or the "
            "last of the messages."
        )
    if len(said) > MAX_ANSWER_CHARS:
        raise InvalidInput(
            f"Row {number}: the answer has {len(said):,} characters; the limit is {MAX_ANSWER_CHARS:,}."
        )
    return clean_text(said)


def _said(row: Any) -> str | None:
    """The answer in a row; None if it has none."""
    if not isinstance(row, dict):
        return None
    column = next((name for name in COLUMNS if name in row), None)
    if column is not None:
        return text(row[column], column)
    messages = next((name for name in ("messages", "conversations", "conversation") if row.get(name)), None)
    if messages is None:
        return None
    turns = conversation(row[messages], messages)
    return turns[-1]["content"] if turns and turns[-1]["role"] == "assistant" else None


# --- which prompts are answered --------------------------------------------------------------


def prompts_of(answers: Sequence[GivenAnswers]) -> list[CampaignPrompt]:
    """The prompts that the first contender of these answers, for a campaign that names no others."""
    return list(answers[0].prompts.values()) if answers else []


def covered(
    prompts: Sequence[CampaignPrompt],
    answers: Sequence[GivenAnswers],
    *,
    samples: int,
    only_answered: bool = False,
) -> list[CampaignPrompt]:
    """The prompts to ask, each of which has an answer for every sample from every contender of `answers`.

    Args:
        only_answered: leave out the other prompts, instead of refusing them.

    Raises:
        InvalidInput: for prompts without an answer; the sentence counts them and quotes the first ones.
    """
    missing = {given.name: _unanswered(prompts, given.texts, samples) for given in answers}
    without = {prompt.key for found in missing.values() for prompt in found}
    kept = [prompt for prompt in prompts if prompt.key not in without]
    if not without or (only_answered and kept):
        return kept
    name, found = next((name, found) for name, found in missing.items() if found)
    raise InvalidInput(_missing(name, found, len(prompts), samples, some=bool(kept)), field="answers")


def _unanswered(
    prompts: Sequence[CampaignPrompt], texts: Mapping[str, Sequence[str]], samples: int
) -> list[CampaignPrompt]:
    return [prompt for prompt in prompts if len(texts.get(prompt.key, ())) < samples]


def _missing(name: str, found: Sequence[CampaignPrompt], prompts: int, samples: int, *, some: bool) -> str:
    fewer = "no answer" if samples == 1 else f"fewer than {samples} answers"
    quoted = ", ".join(f"“{_clipped(prompt.question)}”" for prompt in found[:SHOWN_MISSING])
    more = f" and {len(found) - SHOWN_MISSING:,} more" if len(found) > SHOWN_MISSING else ""
    remedy = "add rows for them, or ask only the prompts that are answered" if some else "add rows for them"
    return f"{name} has {fewer} to {len(found):,} of {prompts:,} prompts: {quoted}{more}; {remedy}."


def _clipped(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= SHOWN_CHARS else f"{line[: SHOWN_CHARS - 1]}…"
