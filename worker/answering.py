"""From a comparison's id to written answers: claim, decode those on one base together, stream into rows."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import uuid4

from sqlalchemy.orm import Session

from app.errors import AppError, Refused
from app.settings import get_settings
from app.store import answering, conversations, enforcing, generations
from app.store.db import write_session
from app.store.enums import GenerationStatus
from app.store.models import Comparison, Generation
from hypo_engine.generate import Answer, GenerationRequest, Served
from worker.going import going_away
from worker.lease import LeaseHolder
from worker.patience import patiently, read_patiently, wait_out
from worker.serving import ServedModel, Serving
from worker.training import describe

WRITE_SECONDS = 0.15
"""How often the growing texts are written."""

log = logging.getLogger(__name__)
_serving = Serving()


def answer_next(*, worker: str) -> bool:
    """Claim the comparison that waits longest and write its unfinished answers; False when none waits."""
    seconds, lease_id = get_settings().lease_seconds, str(uuid4())

    def take(session: Session) -> tuple[Comparison, list[Pending]] | None:
        found = answering.claim_next(session=session, worker=worker, lease_seconds=seconds, lease_id=lease_id)
        return None if found is None else (found, _pending(found, session))

    taken = patiently(take)
    if taken is None:
        return False
    comparison, pending = taken
    comparison_id = comparison.id

    def renew() -> bool:
        with write_session() as session:
            return answering.renew(comparison_id, lease_id, session=session, lease_seconds=seconds)

    with LeaseHolder(renew, seconds) as lease:
        bases = list(dict.fromkeys(map(_base_of, pending)))  # in the order shown, which tells no names
        for _, group in groupby(sorted(pending, key=lambda p: bases.index(_base_of(p))), key=_base_of):
            if not lease.lost.is_set() and not going_away.is_set():
                _answer_together(comparison, list(group), lease)
    patiently(lambda session: answering.release(comparison_id, lease_id, session=session))
    return True


def _base_of(pending: "Pending") -> str:
    return pending.model.base_model


@dataclass(frozen=True, slots=True)
class Pending:
    """An answer to write: its row, and who writes it."""

    generation: Generation
    model: ServedModel


def _pending(comparison: Comparison, session: Session) -> list[Pending]:
    contenders = {c.position: c for c in comparison.conversation.contenders}
    found = []
    for answer in conversations.answers(comparison.id, session=session):
        if answer.status.is_over or answer.position is None:
            continue
        try:
            found.append(Pending(answer, ServedModel.of(contenders[answer.position], session=session)))
        except AppError as error:
            generations.fail_answer(answer.id, session=session, error=str(error))
    return found


def _answer_together(comparison: Comparison, pending: Sequence[Pending], lease: LeaseHolder) -> None:
    """Decode the answers of contenders that share a base model in one batch.

    What goes wrong with one of them is said in its own answer; the others are written.
    """
    stream = Stream(comparison, [p.generation.id for p in pending], lease)
    try:
        served, failed = wait_out(lambda: _serving.load([p.model for p in pending]), waiting=stream.wait)
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
        _answer_ready(comparison, served, ready, lease)


def _answer_ready(
    comparison: Comparison, served: Served, pending: Sequence[Pending], lease: LeaseHolder
) -> None:
    """Decode answers in one batch; each by itself when the batch fails."""
    stream = Stream(comparison, [p.generation.id for p in pending], lease)
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
            _answer_ready(comparison, served, [one], lease)
        return
    if not stream.interrupted:
        patiently(lambda session: stream.finish(session, answers))


def _fail(pending: Sequence[Pending], error: Exception) -> None:
    ids = [p.generation.id for p in pending]
    log.error("Answers %s failed", ids, exc_info=error)
    sentence = describe(error)
    patiently(lambda session: _fail_all(session, ids, sentence))


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
    """Writes growing texts every little while, and reads who shall stop."""

    def __init__(self, comparison: Comparison, ids: Sequence[int], lease: LeaseHolder) -> None:
        self._held = comparison.id, str(comparison.lease_id)
        self.ids = list(ids)
        self._lease = lease
        self._latest: dict[int, tuple[str, int]] = {}
        self._seconds: dict[int, float] = {}
        self._stop: set[int] = set()
        self._written_at = 0.0
        self._started = time.perf_counter()

    @property
    def interrupted(self) -> bool:
        """Whether the answers are left for another worker."""
        return self._lease.lost.is_set() or going_away.is_set()

    def wait(self, what: str, seconds: float) -> None:
        """Give up on a store that is away once the answers are not wanted any more, or are another's."""
        self._heed()
        if self.interrupted or self._stop.issuperset(self.ids):
            raise Refused(f"The {what} was away; ask again when it is back.")

    def start(self) -> None:
        self._started = time.perf_counter()
        patiently(self._start)

    def _start(self, session: Session) -> None:
        for generation_id in self.ids:
            generations.start_answer(generation_id, session=session)

    def on_text(self, row: int, text: str, tokens: int) -> None:
        self._latest[row] = (text, tokens)
        self._seconds[row] = time.perf_counter() - self._started
        if time.perf_counter() - self._written_at >= WRITE_SECONDS:
            patiently(self._grow)
            self._written_at = time.perf_counter()
            self._latest.clear()
            self._heed()

    def _heed(self) -> None:
        """Read who shall stop, and say once that it is known."""
        stop = read_patiently(lambda session: generations.stop_wishes(self.ids, session=session))
        if stop - self._stop:
            patiently(lambda session: enforcing.heed_stop(*self._held, session=session))
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
        """Write the whole texts with their log-probabilities."""
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
