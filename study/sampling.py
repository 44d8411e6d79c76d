"""Sampling of the pool: the reference answers what has no answers yet."""

import json
import zlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from hypo_engine.generate import GenerationRequest, Served, load_served
from study.pool import PoolSize, missing
from study.prompts import Question
from study.regimes import Sampled
from worker.shutdown import shutting_down

PROMPTS_AT_ONCE: Final = 12


def fill_pool(path: Path, size: PoolSize, model: str, *, models_dir: Path) -> None:
    """Sample what is missing, a few prompts at a time; each line of the file is a prompt with its answers."""
    waiting = missing(path, size)
    served = load_served(model, models_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n")  # after a line that was cut
        for start in range(0, len(waiting), PROMPTS_AT_ONCE):
            if shutting_down.is_set():
                return
            group = waiting[start : start + PROMPTS_AT_ONCE]
            for one, answers in zip(group, _sample(served, group, size), strict=True):
                told = {"prompt": one.text, "answers": [[text.text, text.finished] for text in answers]}
                file.write(json.dumps(told, ensure_ascii=False) + "\n")
            file.flush()


def _sample(served: Served, group: Sequence[Question], size: PoolSize) -> list[list[Sampled]]:
    """The answers to each prompt, at temperature 1."""
    requests = [
        GenerationRequest(one.turns, None, size.tokens, 1.0, 1.0, _seed(one, number))
        for one in group
        for number in range(size.answers_to(one))
    ]
    answers = iter(served.answer(requests))
    return [
        [Sampled(answer.text, answer.finished) for answer in islice(answers, size.answers_to(one))]
        for one in group
    ]


def _seed(one: Question, number: int) -> int:
    return zlib.crc32(f"{number}/{one.text}".encode())
