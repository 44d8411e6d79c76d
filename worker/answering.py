"""Claim a comparison, decode the answers that share a base model in one batch, and stream them into rows."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import uuid4

from sqlalchemy.orm import Session

from app.errors import AppError, Refused
from app.settings import get_settings
from app.store import comparisons, generations
from app.store.answering import ANSWER_LEASES
from app.store.claims import Claim
from app.store.enums import GenerationStatus
from app.store.models import Comparison, Generation
from hypo_engine.generate import Answer, GenerationRequest, Served
from worker.lease import LeaseRenewer
from worker.retry import retry, retry_read, retry_write
from worker.serving import ServedModel, Serving
from worker.shutdown import shutting_down
from worker.training import describe

WRITE_SECONDS = 0.15
"""Seconds between two writes of the growing texts."""

log = logging.getLogger(__name__)
_serving = Serving()


def answer_next(*, worker: str) -> bool:
    """Claim the longest waiting comparison and write its unfinished answers; return False if none waits."""
    seconds, lease = get_settings().lease_seconds, str(uuid4())

    def take(session: Session) -> tuple[Claim, list[Pending]] | None:
        found = ANSWER_LEASES.claim_next(session=session, worker=worker, lease_seconds=seconds, lease=lease)
        return None if found is None else (Claim.of(found), _pending(found, session))

    taken = retry_write(take)
    if taken is None:
        return False
    claim, pending = taken
    with LeaseRenewer(ANSWER_LEASES, claim, seconds) as renewer:
        bases = list(dict.fromkeys(map(_base_of, pending)))  # in display order, which reveals no model names
        for _, group in groupby(sorted(pending, key=lambda p: bases.index(_base_of(p))), key=_base_of):
            if not renewer.lost.is_set() and not shutting_down.is_set():
                _answer_together(claim, list(group), renewer.lost)
    retry_write(lambda session: ANSWER_LEASES.release(claim, session=session))
    return True


def _base_of(pending: "Pending") -> str:
    return pending.model.base_model


@dataclass(frozen=True, slots=True)
class Pending:
    """An unfinished answer: its row and the model that writes it."""

    generation: Generation
    model: ServedModel


def _pending(comparison: Comparison, session: Session) -> list[Pending]:
    contenders = {c.position: c for c in comparison.conversation.contenders}
    found = []
    for answer in comparisons.answers(comparison.id, session=session):
        if answer.status.is_over or answer.position is None:
            continue
        try:
            found.append(Pending(answer, ServedModel.of(contenders[answer.position], session=session)))
        except AppError as error:
            generations.fail_answer(answer.id, session=session, error=str(error))
    return found


def _answer_together(claim: Claim, pending: Sequence[Pending], lost: threading.Event) -> None:
    """Decode the answers of contenders that share a base model in one batch.

    If one model fails, its answer records the reason, and the other answers are still written.
    """
    stream = Stream(claim, [p.generation.id for p in pending], lost)
    try:
        served, failed = retry(
            lambda: _serving.load([p.model for p in pending]), on_pause=stream.check_wanted
        )
    except Exception as error:
        _fail(pending, error)
        return
    ready = []
    for p in pending:
        refused = failed.get(p.model) or served.refusal(_request(p.generation, p.model.adapter))
        if refused is None:
            ready.append(p)
        else:
            _fail([p], refused)
    if ready:
        _answer_ready(claim, served, ready, lost)


def _answer_ready(claim: Claim, served: Served, pending: Sequence[Pending], lost: threading.Event) -> None:
    """Decode answers in one batch; if the batch fails, decode each answer alone."""
    stream = Stream(claim, [p.generation.id for p in pending], lost)
    requests = [_request(p.generation, p.model.adapter) for p in pending]
    try:
        stream.start()
        answers = served.answer(requests, on_text=stream.on_text, should_stop=stream.should_stop)
    except Exception as error:
        if len(pending) == 1 or stream.interrupted:
            _fail(pending, error)
            return
        log.exception("Answers %s failed together; each is tried by itself", stream.ids)
        for one in pending:
            _answer_ready(claim, served, [one], lost)
        return
    if not stream.interrupted:
        retry_write(lambda session: stream.finish(session, answers))


def _fail(pending: Sequence[Pending], error: Exception) -> None:
    ids = [p.generation.id for p in pending]
    log.error("Answers %s failed", ids, exc_info=error)
    sentence = describe(error)
    retry_write(lambda session: _fail_all(session, ids, sentence))


def _fail_all(session: Session, ids: Sequence[int], sentence: str) -> None:
    for generation_id in ids:
        generations.fail_answer(generation_id, session=session, error=sentence)


def _request(generation: Generation, adapter: str | None) -> GenerationRequest:
    parameters = generation.parameters
    return GenerationRequest(
        prompt=generation.prompt.content,
        adapter=adapter,
        max_new_tokens=int(parameters["max_new_tokens"]),
        temperature=float(parameters["temperature"]),
        top_p=float(parameters["top_p"]),
        seed=generation.seed,
    )


class Stream:
    """Writes the growing texts several times a second and reads requests to stop an answer."""

    def __init__(self, claim: Claim, ids: Sequence[int], lost: threading.Event) -> None:
        self.ids = list(ids)
        self._claim = claim
        self._lost = lost
        self._latest: dict[int, tuple[str, int]] = {}
        self._seconds: dict[int, float] = {}
        self._stop: set[int] = set()
        self._written_at = 0.0
        self._started = time.perf_counter()

    @property
    def interrupted(self) -> bool:
        """Whether decoding stopped so that another worker can continue."""
        return self._lost.is_set() or shutting_down.is_set()

    def check_wanted(self, what: str, seconds: float) -> None:
        """Stop waiting for an unavailable store once the answers were stopped or another worker holds them.

        Raises:
            Refused: the answers were stopped, or the lease was lost.
        """
        self._read_stop_wishes()
        if self.interrupted or self._stop.issuperset(self.ids):
            raise Refused(f"The {what} was away; ask again when it is back.")

    def start(self) -> None:
        self._started = time.perf_counter()
        retry_write(self._start)

    def _start(self, session: Session) -> None:
        for generation_id in self.ids:
            generations.start_answer(generation_id, session=session)

    def on_text(self, row: int, text: str, tokens: int) -> None:
        self._latest[row] = (text, tokens)
        self._seconds[row] = time.perf_counter() - self._started
        if time.perf_counter() - self._written_at >= WRITE_SECONDS:
            retry_write(self._grow)
            self._written_at = time.perf_counter()
            self._latest.clear()
            self._read_stop_wishes()

    def _read_stop_wishes(self) -> None:
        """Read the requests to stop, and acknowledge new ones."""
        stop = retry_read(lambda session: generations.stop_wishes(self.ids, session=session))
        if stop - self._stop:
            retry_write(lambda session: ANSWER_LEASES.acknowledge_cancel(self._claim, session=session))
        self._stop = stop

    def _grow(self, session: Session) -> None:
        for row, (text, tokens) in self._latest.items():
            generations.grow_answer(
                self.ids[row],
                session=session,
                text=text.replace("\x00", "\ufffd"),
                tokens=tokens,
                seconds=self._seconds[row],
            )

    def should_stop(self, row: int) -> bool:
        return self.interrupted or self.ids[row] in self._stop

    def finish(self, session: Session, answers: Sequence[Answer]) -> None:
        """Write the complete texts with their log-probabilities."""
        for row, answer in enumerate(answers):
            generations.finish_answer(
                self.ids[row],
                session=session,
                status=GenerationStatus.STOPPED if answer.stopped else GenerationStatus.FINISHED,
                text=answer.text.replace("\x00", "\ufffd"),
                tokens=answer.tokens,
                seconds=self._seconds.get(row, time.perf_counter() - self._started),
                complete=answer.finished,
                policy_logp=answer.policy_logp,
                reference_logp=answer.reference_logp,
                token_logps=[
                    [text.replace("\x00", "\ufffd"), policy, reference]
                    for text, policy, reference in zip(
                        answer.token_texts,
                        answer.policy_token_logps,
                        answer.reference_token_logps,
                        strict=True,
                    )
                ],
            )
