"""Asking several models at once: one door for the compare page, the command line and the API."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.launch import send_comparison
from app.settings import get_settings
from app.store import conversations, generations, runs, users
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session, write_session
from app.store.models import Comparison, Contender, Generation


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one comparison as they stand, in the order shown."""

    conversation_id: int
    comparison_id: int
    contenders: list[Contender]
    answers: list[Generation]

    @property
    def over(self) -> bool:
        return all(answer.status.is_over for answer in self.answers)


def contenders_of_runs(run_ids: Sequence[int], *, with_reference: bool) -> list[ContenderChoice]:
    """The runs' last checkpoints, after the base model of the first of them where the reference is wanted."""
    choices = [ContenderChoice(run_id=run_id) for run_id in run_ids]
    if with_reference and run_ids:
        with read_session() as session:
            base_model = runs.get(run_ids[0], session=session).base_model
        choices.insert(0, ContenderChoice(base_model=base_model))
    return choices


def begin(
    choices: Sequence[ContenderChoice],
    question: str,
    *,
    user: str = users.LOCAL,
    blind: bool = False,
    seed: int | None = None,
    decoding: Decoding | None = None,
) -> Comparison:
    """Start a conversation with its first question, and tell the workers after the commit.

    Raises:
        AppError: as `conversations.start` and `conversations.ask`; nothing is stored then.
    """
    with write_session() as session:
        conversation = conversations.start(
            choices,
            session=session,
            user=user,
            blind=blind,
            seed=random.SystemRandom().randrange(2**31) if seed is None else seed,
            decoding=decoding or Decoding(),
        )
        comparison = conversations.ask(
            conversation.id, question, session=session, max_chars=get_settings().max_prompt_chars
        )
    send_comparison(comparison.id)
    return comparison


def look(comparison_id: int) -> Answers:
    """The answers of a comparison as they stand now."""
    with read_session() as session:
        comparison = conversations.get_comparison(comparison_id, session=session)
        return Answers(
            comparison.conversation_id,
            comparison_id,
            list(comparison.conversation.contenders),
            conversations.answers(comparison_id, session=session),
        )


def follow(comparison_id: int, *, seconds: float, every: float = 0.2) -> Iterator[Answers]:
    """The answers as they grow, until all are over or the time is up; the last one is as it then stands."""
    end = time.monotonic() + seconds
    while True:
        present = look(comparison_id)
        yield present
        if present.over or time.monotonic() >= end:
            return
        time.sleep(every)


def wait(comparison_id: int, *, seconds: float, on_look: Callable[[Answers], None] | None = None) -> Answers:
    """The answers when all are over, or as they stand when the time is up."""
    present = look(comparison_id)
    for present in follow(comparison_id, seconds=seconds):
        if on_look is not None:
            on_look(present)
    return present


def stop(comparison_id: int) -> None:
    """Ask for all unfinished answers of a comparison to stop."""
    present = look(comparison_id)
    with write_session() as session:
        generations.wish_stop([answer.id for answer in present.answers], session=session)
