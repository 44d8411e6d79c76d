"""Comparisons of several models: the operations shared by the compare page, the command line and the API."""

import logging
import random
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from app import answer_waits, endpoints
from app.errors import InvalidInput, NotFound
from app.launch import send_comparison
from app.settings import get_settings
from app.store import (
    comparisons,
    conversations,
    generations,
    judging,
    label_queries,
    labels,
    names,
    run_checkpoints,
    runs,
    users,
)
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session, write_session
from app.store.enums import AspectChoice, Choice
from app.store.judging import LETTERS
from app.store.models import Comparison, Contender, Generation, Label
from app.store.vote_details import Vote

LONGEST_WAIT_SECONDS = 600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """The current answers of one comparison, in the order shown, each with its contender.

    With `hidden`, the reader may not see the names yet, nor anything that would reveal them. `waits` has what
    each queued answer waits for, in words.
    """

    conversation_id: int
    comparison_id: int
    contenders: list[Contender]
    answers: list[Generation]
    hidden: bool
    waits: list[str]

    @property
    def problem(self) -> str:
        """A sentence on why no vote can be cast now; empty when one can."""
        return judging.why_not_votable(self.answers)

    @property
    def over(self) -> bool:
        return all(answer.status.is_over for answer in self.answers)


def contenders_of_runs(
    run_ids: Sequence[int], *, with_reference: bool, checkpoint_ids: Sequence[int] = ()
) -> list[ContenderChoice]:
    """The runs' last checkpoints, and checkpoints named by id; `with_reference` puts their base models first.

    Raises:
        NotFound: for a run or checkpoint that does not exist.
    """
    with read_session() as session:
        points = [run_checkpoints.get(checkpoint_id, session=session) for checkpoint_id in checkpoint_ids]
        named = [*run_ids, *(point.run_id for point in points)] if with_reference else []
        bases = dict.fromkeys(runs.get(run_id, session=session).base_model for run_id in named)
    return [
        *(ContenderChoice(base_model=base) for base in bases),
        *(ContenderChoice(run_id=run_id) for run_id in run_ids),
        *(ContenderChoice(run_id=point.run_id, checkpoint_id=point.id) for point in points),
    ]


def contenders_of_endpoints(names: Sequence[str]) -> list[ContenderChoice]:
    """The models behind configured endpoints.

    Raises:
        InvalidInput: for an endpoint that is not configured.
    """
    try:
        found = [endpoints.get(name) for name in names]
    except NotFound as error:
        raise InvalidInput(str(error), field="endpoints") from error
    return [ContenderChoice(base_model=one.model, endpoint=one.name) for one in found]


def begin(
    choices: Sequence[ContenderChoice],
    question: str,
    *,
    user: str = users.LOCAL,
    blind: bool = True,
    seed: int | None = None,
    decoding: Decoding | None = None,
    opening: Sequence[Mapping[str, str]] = (),
) -> Comparison:
    """Start a conversation with its first question, and notify the workers after the commit.

    Args:
        blind: whether the names stay hidden at each question until the user has voted or asked for them.
        opening: the messages before the question, as `held_out.random_prompt` gives them.

    Raises:
        AppError: as `conversations.start` and `comparisons.ask`. Nothing is stored in that case.
    """
    with write_session() as session:
        conversation = conversations.start(
            choices,
            session=session,
            user=user,
            blind=blind,
            seed=random.SystemRandom().randrange(2**31) if seed is None else seed,
            decoding=decoding or Decoding(),
            opening=opening,
        )
        comparison = comparisons.ask(
            conversation.id, question, session=session, max_chars=get_settings().max_prompt_chars
        )
    send_comparison(comparison.id)
    return comparison


def follow_up(conversation_id: int, question: str, *, continues_from: str | None) -> Comparison:
    """Ask the next question of a conversation.

    Args:
        continues_from: letter of the previous answer that becomes every contender's history. With None, each
            contender continues from its own answer.

    Raises:
        AppError: as `comparisons.ask`.
    """
    with write_session() as session:
        comparison = comparisons.ask(
            conversation_id,
            question,
            session=session,
            continues_from=None if continues_from is None else _side(continues_from, "continues_from"),
            max_chars=get_settings().max_prompt_chars,
        )
    send_comparison(comparison.id)
    return comparison


def regenerate(comparison_id: int, side: int) -> Generation:
    """Generate the answer of one side again, with the next seed.

    Raises:
        AppError: as `comparisons.regenerate`.
    """
    with write_session() as session:
        fresh = comparisons.regenerate(comparison_id, side, session=session)
    send_comparison(comparison_id)
    return fresh


def look(comparison_id: int, *, user: str = users.LOCAL) -> Answers:
    """The current answers of a comparison as this user may see them. Records that the names were shown.

    Raises:
        NotFound: when no comparison has this id.
    """
    with read_session() as session:
        comparison = comparisons.get(comparison_id, session=session)
        contenders = {contender.position: contender for contender in comparison.conversation.contenders}
        hidden = names.hidden(comparison, user, session=session)
        known = hidden or names.seen_among([comparison_id], user, session=session)
        shown = comparisons.answers(comparison_id, session=session)
        models = [contenders[int(answer.position or 0)] for answer in shown]
        waits = answer_waits.waits(comparison, models, shown, hidden=hidden, session=session)
    if not known:
        remember_shown([comparison_id], user=user)
    return Answers(comparison.conversation_id, comparison_id, models, shown, hidden, waits)


def show_names(comparison_id: int, *, user: str = users.LOCAL) -> None:
    """Reveal the names of a comparison to a user. None of the user's later votes on it is blind.

    Raises:
        NotFound: when no comparison has this id.
    """
    with write_session() as session:
        comparisons.get(comparison_id, session=session)
        names.record([comparison_id], user, session=session)


def show_all_names(*, user: str = users.LOCAL) -> int:
    """Reveal the names of every comparison with votes to a user. Later votes on these are not blind.

    Returns:
        The number of comparisons whose names were hidden before.
    """
    with read_session() as session:
        hidden = label_queries.hidden_comparisons(user, session=session)
    for start in range(0, len(hidden), names.BATCH):
        with write_session() as session:
            names.record(hidden[start : start + names.BATCH], user, session=session)
    return len(hidden)


def record_shown(votes: Sequence[Vote], *, user: str = users.LOCAL) -> None:
    """Record that a user was shown the names of the votes that are not hidden, as in a list of votes."""
    shown = {vote.comparison.id for vote in votes if not vote.hidden}
    with read_session() as session:
        fresh = shown - names.seen_among(shown, user, session=session)
    remember_shown(fresh, user=user)


def remember_shown(comparison_ids: Collection[int], *, user: str) -> None:
    """Record, best effort, that a user was shown names that were not hidden.

    No vote's blindness depends on these rows. A failed write, as on a full disk, is logged and does not fail
    the page.
    """
    if not comparison_ids:
        return
    try:
        with write_session() as session:
            names.record(comparison_ids, user, session=session)
    except SQLAlchemyError:
        log.warning(
            "It could not be recorded who saw the names of comparisons %s.", sorted(comparison_ids)[:20]
        )


def follow(
    comparison_id: int, *, seconds: float, every: float = 0.2, user: str = users.LOCAL
) -> Iterator[Answers]:
    """Yield the growing answers until all are finished or the time is up; the last item is final."""
    end = time.monotonic() + seconds
    while True:
        present = look(comparison_id, user=user)
        yield present
        if present.over or time.monotonic() >= end:
            return
        time.sleep(every)


def wait(comparison_id: int, *, seconds: float, user: str = users.LOCAL) -> Answers:
    """The answers once all are finished, or their state when the time is up."""
    *_, present = follow(comparison_id, seconds=seconds, user=user)
    return present


def stop(comparison_id: int, side: int | None = None) -> None:
    """Request a stop of a comparison's unfinished answers, or only of the one on a side."""
    with read_session() as session:
        shown = comparisons.answers(comparison_id, session=session)
    ids = [answer.id for place, answer in enumerate(shown) if side in (None, place)]
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
        AppError: as `labels.vote`, and InvalidInput for any other word.
    """
    said = parse_vote(choice, worst)
    with write_session() as session:
        return labels.vote(
            comparison_id,
            session=session,
            user=user,
            choice=said.choice,
            best=said.best,
            worst=said.worst,
            reason=reason,
            seconds=seconds,
        )


def change(
    label_id: int, choice: str, *, user: str = users.LOCAL, worst: str = "", reason: str = ""
) -> Label:
    """Change a vote, in words as for `vote`. The letters are those of the order in which it was cast.

    Raises:
        AppError: as `labels.vote`; NotFound for a vote that does not exist; Refused for another person's.
    """
    said = parse_vote(choice, worst)
    with write_session() as session:
        label = labels.own(label_id, user, session=session)
        return labels.vote(
            label.comparison_id,
            session=session,
            user=user,
            choice=said.choice,
            best=said.best,
            worst=said.worst,
            reason=reason,
            order=labels.order_of(label, session=session),
        )


@dataclass(frozen=True, slots=True)
class SaidVote:
    """A vote as said in words: the choice, and the best and the worst side, 0 for A."""

    choice: Choice
    best: int | None
    worst: int | None


def parse_vote(choice: str, worst: str = "") -> SaidVote:
    """Parse `A` to `D` for the best answer, `tie`, or `both bad`, and the letter of the worst answer.

    Raises:
        InvalidInput: for any other word.
    """
    kinds = {"tie": Choice.TIE, "both bad": Choice.ALL_BAD, "all bad": Choice.ALL_BAD}
    kind = kinds.get(choice.strip().lower().replace("_", " "), Choice.BEST)
    best = _side(choice, "choice") if kind is Choice.BEST else None
    return SaidVote(kind, best, _side(worst, "worst") if worst.strip() else None)


def parse_aspects(said: Mapping[str, str]) -> dict[str, int | AspectChoice]:
    """Parse the words for each aspect: the letter of the best answer, `tie`, or `not applicable`.

    Raises:
        InvalidInput: for any other word.
    """
    kinds = {kind.value: kind for kind in AspectChoice}
    found: dict[str, int | AspectChoice] = {}
    for name, word in said.items():
        kind = kinds.get(word.strip().lower().replace("_", " "))
        if kind is None and word.strip().upper() not in LETTERS:
            raise InvalidInput(
                f"For the aspect {name!r} name a letter of an answer, tie, or not applicable.",
                field="aspects",
            )
        found[name] = LETTERS.index(word.strip().upper()) if kind is None else kind
    return found


def explain(label_id: int, reason: str, *, user: str = users.LOCAL) -> Label:
    """Change the reason of a vote.

    Raises:
        AppError: as `labels.explain`.
    """
    with write_session() as session:
        return labels.explain(label_id, reason, session=session, user=user)


def withdraw(label_id: int, *, user: str = users.LOCAL) -> None:
    """Withdraw a vote.

    Raises:
        AppError: as `labels.withdraw`.
    """
    with write_session() as session:
        labels.withdraw(label_id, session=session, user=user)


def _side(letter: str, field: str) -> int:
    side = LETTERS.find(letter.strip().upper()) if len(letter.strip()) == 1 else -1
    if side < 0:
        others = ", tie or both bad" if field == "choice" else ""
        raise InvalidInput(
            f"{field} must be one of {', '.join(LETTERS)}{others}, not {letter!r}.", field=field
        )
    return side
