"""Asking several models at once: one door for the compare page, the command line and the API."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.errors import InvalidInput
from app.launch import send_comparison
from app.settings import get_settings
from app.store import conversations, generations, labels, runs, users
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session, write_session
from app.store.enums import Choice
from app.store.labels import LETTERS
from app.store.models import Comparison, Contender, Generation, Label

LONGEST_WAIT_SECONDS = 600.0


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
    """The runs' last checkpoints, after the base models they share where the reference is wanted."""
    bases: dict[str, None] = {}
    if with_reference and run_ids:
        with read_session() as session:
            bases = dict.fromkeys(runs.get(run_id, session=session).base_model for run_id in run_ids)
    references = [ContenderChoice(base_model=base) for base in bases]
    return references + [ContenderChoice(run_id=run_id) for run_id in run_ids]


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


def follow_up(conversation_id: int, question: str, *, continues_from: int | None) -> Comparison:
    """Put the next question of a conversation.

    Args:
        continues_from: position of the answer that all see as the conversation so far; None for each its own.

    Raises:
        AppError: as `conversations.ask`.
    """
    with write_session() as session:
        comparison = conversations.ask(
            conversation_id,
            question,
            session=session,
            continues_from=continues_from,
            max_chars=get_settings().max_prompt_chars,
        )
    send_comparison(comparison.id)
    return comparison


def regenerate(comparison_id: int, position: int) -> Generation:
    """Ask one contender again, with the next seed.

    Raises:
        AppError: as `conversations.regenerate`.
    """
    with write_session() as session:
        fresh = conversations.regenerate(comparison_id, position, session=session)
    send_comparison(comparison_id)
    return fresh


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


def stop(comparison_id: int, position: int | None = None) -> None:
    """Ask for the unfinished answers of a comparison to stop, or for the one at a position."""
    present = look(comparison_id)
    ids = [answer.id for answer in present.answers if position in (None, answer.position)]
    with write_session() as session:
        generations.wish_stop(ids, session=session)


def vote(
    comparison_id: int,
    choice: str,
    *,
    user: str = users.LOCAL,
    worst: str = "",
    reason: str = "",
    seconds: float | None = None,
) -> Label:
    """Vote in words: `A` to `D` for the best answer, `tie`, or `both bad`.

    Args:
        worst: letter of the worst answer, needed for the best of more than two.

    Raises:
        AppError: as `labels.vote`, and InvalidInput for other words.
    """
    kinds = {"tie": Choice.TIE, "both bad": Choice.ALL_BAD, "all bad": Choice.ALL_BAD}
    kind = kinds.get(choice.strip().lower().replace("_", " "), Choice.BEST)
    with write_session() as session:
        return labels.vote(
            comparison_id,
            session=session,
            user=user,
            choice=kind,
            best=_position(choice, "choice") if kind is Choice.BEST else None,
            worst=_position(worst, "worst") if worst.strip() else None,
            reason=reason,
            seconds=seconds,
        )


def _position(letter: str, field: str) -> int:
    position = LETTERS.find(letter.strip().upper()) if len(letter.strip()) == 1 else -1
    if position < 0:
        others = ", tie or both bad" if field == "choice" else ""
        raise InvalidInput(
            f"{field} must be one of {', '.join(LETTERS)}{others}, not {letter!r}.", field=field
        )
    return position
