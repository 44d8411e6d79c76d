"""What queued answers wait for, in words, for the compare page, the command line and the API."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.dispatch import GENERATE_QUEUE
from app.i18n import N_
from app.store import answer_waits
from app.store.answer_waits import AnswerWait, Cause
from app.store.contenders import ENDPOINT
from app.store.enums import GenerationStatus
from app.store.models import Comparison, Contender, Generation

NEUTRAL = "waiting for a worker"
OF_ENDPOINT = "waiting for the endpoint"

_SAID = {
    Cause.LOADING: N_("loading the model"),
    Cause.CLAIMED: "a worker has the question",
    Cause.LOADING_OTHER: "next in the queue: the worker loads a model for something else first",
    Cause.BUSY: "next in the queue: the worker does something else first",
    Cause.NO_WORKER: "waiting for a worker: none is running",
    Cause.MESSAGE: NEUTRAL,
}


def waits(
    comparison: Comparison,
    contenders: Sequence[Contender],
    answers: Sequence[Generation],
    *,
    hidden: bool,
    session: Session,
) -> list[str]:
    """What each answer of a question waits for; empty for one that is being written or is over.

    Args:
        contenders: those of the answers, in the same order.
        hidden: the reader may not see the names. All answers then wait alike, because what an endpoint's
            answer waits for would tell it from the others.
    """
    queued = [answer.status is GenerationStatus.QUEUED for answer in answers]
    if not any(queued):
        return [""] * len(answers)
    if comparison.campaign_id is not None:
        return [NEUTRAL if waiting else "" for waiting in queued]
    remote = [contender.method == ENDPOINT for contender in contenders]
    said = OF_ENDPOINT if not hidden else NEUTRAL
    if not all(elsewhere for waiting, elsewhere in zip(queued, remote, strict=True) if waiting):
        found = answer_waits.of_comparison(comparison, session=session, queue=GENERATE_QUEUE)
        said = sentence(found)
    return [
        (OF_ENDPOINT if elsewhere and not hidden else said) if waiting else ""
        for waiting, elsewhere in zip(queued, remote, strict=True)
    ]


def sentence(wait: AnswerWait) -> str:
    """A wait in words, as the beginning of a sentence without its capital."""
    if wait.cause is Cause.QUEUE:
        if wait.before == 1:
            return f"{wait.before} question is before yours"
        return f"{wait.before} questions are before yours"
    if wait.cause is Cause.TRAINING:
        return f"next in the queue: the worker trains run {wait.run_id} first"
    return _SAID[wait.cause]
