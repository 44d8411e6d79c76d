"""Prompts of a campaign: of a dataset, of a file, pasted, or given as texts and messages."""

import csv
import random
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from app.errors import InvalidInput
from app.imports.readers import Limits, open_rows
from app.settings import get_settings
from app.store import datasets, runs
from app.store.campaign_items import CampaignPrompt
from app.store.conversations import ContenderChoice
from app.store.db import read_session
from app.store.enums import Split
from app.store.prompts import checked_opening, sha256_of, split_off_question
from app.text import clean_text
from hypo_engine.data.rows import RowError, checked_prompt, conversation

MAX_PROMPTS: Final = 1_000
COLUMNS: Final = ("prompt", "question", "instruction", "messages", "conversations", "conversation", "text")
"""Columns that may hold a prompt; the first that a row has is read."""


def of_dataset(
    dataset_id: int, *, count: int, choices: Sequence[ContenderChoice] = ()
) -> list[CampaignPrompt]:
    """Held-out prompts of a dataset, drawn at random; none of them trained one of the contenders.

    Raises:
        InvalidInput: for a count out of bounds, or when the dataset has no such prompt.
        NotFound: for a dataset or run that does not exist.
    """
    if not 1 <= count <= MAX_PROMPTS:
        raise InvalidInput(f"count must be between 1 and {MAX_PROMPTS:,}.", field="count")
    with read_session() as session:
        dataset = datasets.get(dataset_id, session=session)
        used = {
            runs.get(choice.run_id, session=session).dataset_id
            for choice in choices
            if choice.run_id is not None
        }
        pairs = datasets.iter_pairs(dataset_id, session=session, split=Split.HELD_OUT)
        distinct = {sha256_of(pair.prompt): pair.prompt for pair in pairs}
        found: list[CampaignPrompt] = []
        for prompt in random.sample(list(distinct.values()), len(distinct)):
            parts = split_off_question(prompt)
            if parts is not None and not datasets.trains_on(prompt, used, session=session):
                found.append(CampaignPrompt(*parts, dataset_id=dataset.id))
            if len(found) == count:
                break
    if not found:
        raise InvalidInput(
            f"{dataset.name} version {dataset.version} has no held-out prompt that the contenders were not "
            "trained on; choose another dataset, or paste prompts.",
            field="dataset_id",
        )
    return found


def of_lines(text: str) -> list[CampaignPrompt]:
    """One prompt for each line that is not empty.

    Raises:
        InvalidInput: for no or too many prompts, or for one that is too long.
    """
    return checked(line.strip() for line in text.splitlines() if line.strip())


def of_file(path: Path, file_name: str) -> list[CampaignPrompt]:
    """The prompts of a file: a line each in a .txt, else a row each, in a column of `COLUMNS`.

    Raises:
        InvalidInput: for a file without prompts; the sentence names the row.
    """
    limits = Limits.of(get_settings())
    if file_name.lower().endswith(".txt"):
        if path.stat().st_size > limits.max_bytes:
            raise InvalidInput(f"The file is larger than {limits.max_bytes >> 20} MiB.", field="file")
        return of_lines(path.read_text(encoding="utf-8-sig", errors="replace"))
    only = _only_column(path) if file_name.lower().endswith(".csv") else None
    if only is not None:
        return checked(only)
    found: list[Any] = []
    with open_rows(path, limits) as rows:
        for number, row in rows:
            if len(found) == MAX_PROMPTS:
                raise InvalidInput(f"The file has more than {MAX_PROMPTS:,} prompts.", field="file")
            found.append(prompt_of_row(number, row))
    return checked(found)


def _only_column(path: Path) -> list[str] | None:
    """The cells of a CSV file whose only column holds prompts; None for another file.

    The reader of datasets does not take a file without a separator for a CSV.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        try:
            header = next(rows, [])
            if len(header) != 1 or header[0].strip().lower() not in COLUMNS:
                return None
            return [",".join(row) for row in islice(rows, MAX_PROMPTS + 1) if row]
        except csv.Error as error:
            raise InvalidInput(f"Line {rows.line_num} cannot be read: {error}.", field="file") from error


def prompt_of_row(number: int, row: Any) -> Any:
    """The prompt of a numbered row: a text, or messages that end before the answer.

    Raises:
        InvalidInput: for a row without a prompt.
    """
    if isinstance(row, Exception):
        raise InvalidInput(f"Row {number}: {row}.", field="file")
    if not isinstance(row, dict):
        return row
    column = next((name for name in COLUMNS if row.get(name)), None)
    if column is None:
        raise InvalidInput(
            f"Row {number} has no prompt; a prompt is in one of the columns {', '.join(COLUMNS)}.",
            field="file",
        )
    try:
        if isinstance(row[column], str):
            return row[column]
        turns = conversation(row[column], column)
        while turns and turns[-1]["role"] == "assistant":
            turns.pop()
        return checked_prompt(turns)
    except RowError as error:
        raise InvalidInput(f"Row {number}: {error}.", field="file") from error


def checked(given: Iterable[Any]) -> list[CampaignPrompt]:
    """Validate prompts: texts, or lists of messages that end with the user's. Repeated ones are kept once.

    Raises:
        InvalidInput: for no or too many prompts, or for one that cannot be asked; the sentence names its
            number.
    """
    found: dict[str, CampaignPrompt] = {}
    for number, prompt in enumerate(given, start=1):
        one = checked_one(prompt, f"Prompt {number}")
        found.setdefault(one.key, one)
        if len(found) > MAX_PROMPTS:
            raise InvalidInput(f"A campaign has at most {MAX_PROMPTS:,} prompts.", field="prompts")
    if not found:
        raise InvalidInput("The campaign has no prompts; give at least one.", field="prompts")
    return list(found.values())


def checked_one(prompt: Any, which: str) -> CampaignPrompt:
    """Validate a prompt: a text, or a list of messages that ends with the user's.

    Args:
        which: names the prompt in a sentence, such as `Prompt 3`.

    Raises:
        InvalidInput: when it cannot be asked.
    """
    limit = get_settings().max_prompt_chars
    try:
        parts = split_off_question(prompt)
    except (TypeError, KeyError, AttributeError):
        parts = None
    if parts is None or not isinstance(parts[1], str):
        raise InvalidInput(
            f"{which} is no text and no list of messages that ends with the user's.", field="prompts"
        )
    question = clean_text(parts[1]).strip()
    if not question:
        raise InvalidInput(f"{which} is empty.", field="prompts")
    if len(question) > limit:
        raise InvalidInput(
            f"{which} has {len(question):,} characters; the limit is {limit:,}.", field="prompts"
        )
    try:
        return CampaignPrompt(checked_opening(parts[0]), question)
    except InvalidInput as error:
        raise InvalidInput(f"{which}: {error}", field="prompts") from error
