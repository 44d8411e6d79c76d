"""An answer opened token by token: who may see it, its scoring, and the answers beside it.

Log-ratios tell which model wrote an answer. Nobody who may still vote on it sees them, whatever address or id
they use.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import answers
from app.dispatch import GENERATE_QUEUE, send_comparison
from app.errors import NotFound, Refused
from app.presence import worker_missing
from app.store import comparisons, names, runs, scorings, users
from app.store.contenders import ENDPOINT, GIVEN, REFERENCE
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind, GenerationStatus, ScoringStatus
from app.store.models import Comparison, Contender, Generation, Run, Scoring
from app.store.scorings import SCORING_LEASES

MOST_BESIDE = 24
"""Other answers to the same prompt that are offered for comparison."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a text: a contender, or a run at a step of its training."""

    name: str
    method: str
    run_id: int | None
    step: int | None


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer that this person may see with its names.

    Attributes:
        scoring: what is known of its tokens; None if nobody has asked for it.
        beside: other answers to the same prompt.
        note: how to start a worker if the scoring waits for one; else empty.
    """

    generation: Generation
    author: Author
    comparison: Comparison | None
    scoring: Scoring | None
    beside: list[tuple[Generation, Author]]
    note: str


def look(generation_id: int, *, user: str = users.LOCAL) -> Opened:
    """An answer as it stands. Records that its names were shown.

    Raises:
        NotFound: when no generation has this id, or when its run was deleted.
        Refused: while it is written, while its names are hidden from this person, and when it has no text.
    """
    with read_session() as session:
        generation, comparison = _visible(generation_id, user, session=session)
        scoring = scorings.of_answer(generation_id, session=session)
        author = _author(generation, comparison, session=session)
        beside = _beside(generation, comparison, session=session)
        seen = comparison is None or names.seen_among([comparison.id], user, session=session)
    if comparison is not None and not seen:
        answers.remember_shown([comparison.id], user=user)
    waiting = scoring is not None and scoring.status is ScoringStatus.QUEUED
    note = (worker_missing(GENERATE_QUEUE) or "") if waiting else ""
    return Opened(generation, author, comparison, scoring, beside, note)


def want(generation_id: int, *, user: str = users.LOCAL) -> None:
    """Have an answer scored token by token, once for all people. A scoring that failed is tried again.

    Raises:
        AppError: as `look`.
        Refused: also for an answer that none of our models wrote.
    """
    with write_session() as session:
        generation, comparison = _visible(generation_id, user, session=session)
        _check_has_weights(_author(generation, comparison, session=session))
        scoring = scorings.want_answer(generation_id, session=session)
        waits = scoring.status is ScoringStatus.QUEUED and scoring.lease_id is None
    if waits:
        send_scoring(scoring.id)


def send_scoring(scoring_id: int) -> None:
    """Notify the workers of a scoring and record that the message was sent."""
    if send_comparison(scoring_id):
        with write_session() as session:
            SCORING_LEASES.mark_sent(scoring_id, session=session)


# --- who may see it -----------------------------------------------------------------------------


def _visible(generation_id: int, user: str, *, session: Session) -> tuple[Generation, Comparison | None]:
    """A finished generation that a person may see with its names, and the question that it answers."""
    generation = session.get(Generation, generation_id)
    if generation is None:
        raise NotFound(f"No answer has the id {generation_id}; it may have been deleted with its run.")
    if generation.comparison_id is None:
        runs.get(generation.run_id or 0, session=session)
        return generation, None
    comparison = comparisons.get(generation.comparison_id, session=session)
    check_names_shown(comparison, user, session=session)
    if not generation.status.is_over:
        raise Refused("This answer is still being written; open it when it is complete.")
    if generation.status is GenerationStatus.FAILED:
        raise Refused("This answer failed, so there is nothing to score; regenerate it.")
    return generation, comparison


def check_names_shown(comparison: Comparison, user: str, *, session: Session) -> None:
    """Check that a person may know who answered a question. In a campaign all names must have been shown.

    Raises:
        Refused: when this person may not.
    """
    if comparison.campaign_id is not None:
        if not names.seen_in_campaign(comparison.campaign_id, user, session=session):
            raise Refused(
                f"The names of campaign {comparison.campaign_id} are hidden from you, and log-probabilities "
                "would tell them. The campaign's page shows them, and you cannot vote there afterwards: "
                f"campaigns?campaign={comparison.campaign_id}."
            )
    elif names.hidden(comparison, user, session=session):
        raise Refused(
            "The names are hidden until you vote, and log-probabilities would tell them. Vote on the "
            f"question, or have its names shown: compare?conversation={comparison.conversation_id}."
        )


def _check_has_weights(author: Author) -> None:
    if author.method in (GIVEN, ENDPOINT):
        where = "a file" if author.method == GIVEN else "an endpoint"
        raise Refused(
            f"This answer came from {where}, so there are no weights to score it with; "
            "score its text with a run or a base model."
        )


# --- what stands beside it ----------------------------------------------------------------------


def _author(generation: Generation, comparison: Comparison | None, *, session: Session) -> Author:
    if comparison is not None:
        return _of_contender(_contender(comparison, generation))
    run = runs.get(generation.run_id or 0, session=session)
    return Author(run.name, run.method, run.id, generation.step)


def _contender(comparison: Comparison, generation: Generation) -> Contender:
    found = comparison.conversation.contenders
    return next(one for one in found if one.position == generation.position)


def _of_contender(contender: Contender) -> Author:
    return Author(contender.name, contender.method, contender.run_id, None)


def _beside(
    generation: Generation, comparison: Comparison | None, *, session: Session
) -> list[tuple[Generation, Author]]:
    """The other contenders' answers to the question; of a sample, those of the run and its twins."""
    if comparison is not None:
        shown = comparisons.answers(comparison.id, session=session)
        return [
            (other, _of_contender(_contender(comparison, other)))
            for other in shown
            if other.id != generation.id and other.status.is_over and other.text
        ]
    run = runs.get(generation.run_id or 0, session=session)
    twins = {twin.id: twin for twin in runs.twins_of(run, session=session)}
    return [
        (
            other,
            Author(twins[other.run_id or 0].name, twins[other.run_id or 0].method, other.run_id, other.step),
        )
        for other in _samples_of(generation, run, list(twins), session=session)
    ]


def _samples_of(
    generation: Generation, run: Run, run_ids: Sequence[int], *, session: Session
) -> Sequence[Generation]:
    """Other samples of the same kind from the same prompt: probes of all twins, or of the run and step."""
    query = select(Generation).where(
        Generation.prompt_id == generation.prompt_id,
        Generation.kind == generation.kind,
        Generation.id != generation.id,
    )
    if generation.kind is GenerationKind.PROBE:
        query = query.where(Generation.run_id.in_(run_ids))
    else:
        query = query.where(Generation.run_id == run.id, Generation.step == generation.step)
    return session.scalars(query.order_by(Generation.step.desc(), Generation.id).limit(MOST_BESIDE)).all()


def is_reference(author: Author) -> bool:
    """Whether a text was written by the reference itself, so that every log-ratio is zero."""
    return author.method == REFERENCE
