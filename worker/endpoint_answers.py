"""Claim answers that endpoints write, send their requests side by side, and write the replies into rows."""

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from uuid import uuid4

from sqlalchemy.orm import Session

from app import endpoints
from app.endpoints import Asked, Client, Endpoint, Reply, Stopped
from app.errors import AppError
from app.settings import get_settings
from app.store import answering, endpoint_answers, generations
from app.store.claims import Claim
from app.store.endpoint_answers import ENDPOINT_LEASES
from app.store.enums import GenerationStatus
from app.store.models import Comparison, EndpointAnswer, Generation
from worker.lease import LeaseRenewer
from worker.retry import SHUTDOWN_SECONDS, retry_read, retry_write
from worker.shutdown import released_on_exit
from worker.side_by_side import CLAIMED_ROWS, interrupted, side_by_side

log = logging.getLogger(__name__)


def request_next(*, worker: str) -> bool:
    """Claim what has waited longest for an endpoint, and write its answers; return False if nothing waits."""
    settings, lease = get_settings(), str(uuid4())
    rows = retry_write(
        lambda session: endpoint_answers.claim_next(
            session=session,
            worker=worker,
            lease_seconds=settings.lease_seconds,
            lease=lease,
            rows=CLAIMED_ROWS,
        )
    )
    if not rows:
        return False
    claims = [Claim.of(row) for row in rows]

    def release(seconds: float | None = None) -> None:
        retry_write(lambda session: ENDPOINT_LEASES.release(*claims, session=session), seconds=seconds)

    renewer = LeaseRenewer(ENDPOINT_LEASES, claims, settings.lease_seconds)
    with renewer, released_on_exit(lambda: release(SHUTDOWN_SECONDS)):
        _Batch(rows, renewer.lost).write()
    release()
    return True


class _Batch:
    """Answers of one endpoint that are requested side by side.

    Args:
        lost: set once the lease is lost.
    """

    def __init__(self, rows: Sequence[EndpointAnswer], lost: threading.Event) -> None:
        self._rows = rows
        self._lost = lost
        self._stop: set[int] = set()

    def write(self) -> None:
        try:
            endpoint = endpoints.get(self._rows[0].endpoint)
        except AppError as error:
            for row in self._rows:
                self._fail(row, str(error))
            return
        client = Client(endpoint)
        try:
            calls = [partial(self._answer, row, endpoint, client) for row in self._rows]
            side_by_side(calls, at_once=endpoint.max_concurrency, look=self._look)
        finally:
            client.close()

    def _look(self) -> None:
        """Stop answers when that is wished. A reply that comes later is dropped."""
        ids = [row.generation_id for row in self._rows]
        wished = retry_read(lambda session: generations.stop_wishes(ids, session=session))
        for generation_id in wished - self._stop:
            retry_write(partial(_stop, generation_id))
        self._stop = wished

    def _answer(self, row: EndpointAnswer, endpoint: Endpoint, client: Client) -> None:
        answer, started = row.generation, time.perf_counter()

        def should_stop() -> bool:
            return interrupted(self._lost) or answer.id in self._stop

        if should_stop() or not retry_write(lambda session: _start(session, answer)):
            return
        try:
            reply = client.complete(_asked(answer), should_stop=should_stop)
        except Stopped:
            return
        except Exception as error:
            log.warning(
                "Answer %s failed: %s", answer.id, error if isinstance(error, AppError) else "see below"
            )
            if not isinstance(error, AppError):
                log.exception("The request failed unexpectedly")
            self._fail(row, _sentence(error, endpoint))
        else:
            seconds = time.perf_counter() - started
            if not self._lost.is_set():
                retry_write(lambda session: _finish(session, row, endpoint, reply, seconds))

    def _fail(self, row: EndpointAnswer, error: str) -> None:
        """Queue an answer of a campaign again; one of a chat, or one that failed before, stays failed."""

        def act(session: Session) -> None:
            fail = generations.try_answer_again if _of_campaign(row, session) else generations.fail_answer
            fail(row.generation_id, session=session, error=error)
            endpoint_answers.settle(row.generation_id, session=session)

        retry_write(act)


def _start(session: Session, answer: Generation) -> bool:
    """Mark an answer as being written; False if it was stopped before."""
    generations.start_answers([answer.id], session=session)
    return not generations.stop_wishes([answer.id], session=session)


def _asked(answer: Generation) -> Asked:
    parameters, content = answer.parameters, answer.prompt.content
    return Asked(
        messages=[{"role": "user", "content": content}] if isinstance(content, str) else content,
        max_tokens=int(parameters["max_new_tokens"]),
        temperature=float(parameters["temperature"]),
        top_p=float(parameters["top_p"]),
        seed=answer.seed,
    )


def _finish(session: Session, row: EndpointAnswer, endpoint: Endpoint, reply: Reply, seconds: float) -> None:
    written = generations.finish_answer(
        row.generation_id,
        session=session,
        status=GenerationStatus.FINISHED,
        text=reply.text,
        tokens=reply.output_tokens or 0,
        seconds=seconds,
        complete=reply.complete,
    )
    if not written:
        return
    stored = session.get_one(EndpointAnswer, row.id)
    stored.input_tokens, stored.output_tokens = reply.input_tokens, reply.output_tokens
    stored.cost = endpoint.cost(reply.input_tokens, reply.output_tokens)
    campaign_id = _of_campaign(row, session)
    if campaign_id is not None:
        side_by_side = seconds / endpoint.max_concurrency
        answering.add_answered(campaign_id, session=session, answers=1, seconds=side_by_side)
    endpoint_answers.settle(row.generation_id, session=session)


def _stop(generation_id: int, session: Session) -> None:
    generations.finish_answer(
        generation_id,
        session=session,
        status=GenerationStatus.STOPPED,
        text="",
        tokens=0,
        seconds=0.0,
        complete=False,
    )
    endpoint_answers.settle(generation_id, session=session)


def _of_campaign(row: EndpointAnswer, session: Session) -> int | None:
    """The campaign of an answer; None for a chat."""
    return session.get_one(Comparison, row.generation.comparison_id).campaign_id


def _sentence(error: Exception, endpoint: Endpoint) -> str:
    if isinstance(error, AppError):
        return str(error)
    kind = type(error).__name__
    return f"The request to endpoint {endpoint.name} failed ({kind}); the worker's log tells why."
