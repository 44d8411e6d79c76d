"""Claim comparisons, decode the answers that share a base model in one batch, and write them into rows."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import uuid4

from sqlalchemy.orm import Session

from app.errors import AppError
from app.settings import get_settings
from app.store import answering, campaign_tasks, generations
from app.store.answering import ANSWER_LEASES
from app.store.claims import Claim
from app.store.models import Comparison, Generation
from hypo_engine.distributed.out_of_memory import is_out_of_memory, release_cached_memory
from hypo_engine.generate import GenerationRequest, Served
from worker.answer_stream import AnswerStream, CampaignStream, ChatStream
from worker.lease import LeaseRenewer
from worker.retry import SHUTDOWN_SECONDS, retry, retry_write
from worker.serving import SERVING, ServedBase, ServedModel
from worker.shutdown import released_on_exit, shutting_down
from worker.token_scoring import score_tokens_next
from worker.training import describe

TOKENS_A_ROW = 256
"""Tokens of a prompt and its answer that a batch has room for, per row of HYPO_ANSWER_BATCH_ROWS."""

log = logging.getLogger(__name__)


def answer_next(*, worker: str, chats_only: bool = False) -> bool:
    """Claim what has waited longest, and write its unfinished answers; return False if nothing waits.

    Chats go first. Comparisons of a campaign are claimed and answered several at once.

    Args:
        chats_only: leave the campaigns' comparisons.
    """
    settings, lease = get_settings(), str(uuid4())

    def take(session: Session) -> tuple[list[Claim], list[Pending], int | None]:
        found = answering.claim_next(
            session=session,
            worker=worker,
            lease_seconds=settings.lease_seconds,
            lease=lease,
            rows=settings.answer_batch_rows,
            chats_only=chats_only,
        )
        campaign_id = found[0].campaign_id if found else None
        return [Claim.of(row) for row in found], _pending(found, session), campaign_id

    claims, pending, campaign_id = retry_write(take)
    if not claims:
        return False

    def release(seconds: float | None = None) -> None:
        retry_write(lambda session: ANSWER_LEASES.release(*claims, session=session), seconds=seconds)

    renewer = LeaseRenewer(ANSWER_LEASES, claims, settings.lease_seconds)
    with renewer, released_on_exit(lambda: release(SHUTDOWN_SECONDS)):

        def stream(some: Sequence[Pending]) -> AnswerStream:
            rows = [p.generation for p in some]
            if campaign_id is None:
                return ChatStream(claims, rows, renewer.lost)
            return CampaignStream(
                claims,
                rows,
                renewer.lost,
                campaign_id=campaign_id,
                answer_chats=lambda: answer_chats(worker),
            )

        bases = list(dict.fromkeys(map(_base_of, pending)))  # in display order, which reveals no model names
        for _, group in groupby(sorted(pending, key=lambda p: bases.index(_base_of(p))), key=_base_of):
            if not renewer.lost.is_set() and not shutting_down.is_set():
                _answer_together(list(group), stream, worker)
    release()
    return True


def answer_chats(worker: str) -> None:
    """Answer the chats and score the texts that wait while other work goes on."""
    try:
        while not shutting_down.is_set():
            answered = answer_next(worker=worker, chats_only=True)
            scored = not shutting_down.is_set() and score_tokens_next(worker=worker)
            if not (answered or scored):
                return
    except Exception:
        log.exception("A chat could not be answered, or a text not scored; the next worker does it")


@dataclass(frozen=True, slots=True)
class Pending:
    """An unfinished answer: its row and the model that writes it."""

    generation: Generation
    model: ServedModel

    @property
    def request(self) -> GenerationRequest:
        """What the engine is asked for."""
        parameters = self.generation.parameters
        return GenerationRequest(
            prompt=self.generation.prompt.content,
            adapter=self.model.adapter,
            max_new_tokens=int(parameters["max_new_tokens"]),
            temperature=float(parameters["temperature"]),
            top_p=float(parameters["top_p"]),
            seed=self.generation.seed,
        )


StreamOf = Callable[[Sequence[Pending]], AnswerStream]
"""Returns the stream of some answers."""


def _base_of(pending: Pending) -> ServedBase:
    return pending.model.base


def _pending(claimed: Sequence[Comparison], session: Session) -> list[Pending]:
    """The unfinished answers of comparisons, in display order. Those of a deleted run fail."""
    comparisons = {comparison.id: comparison for comparison in claimed}
    found = []
    for answer in generations.unfinished_answers(list(comparisons), session=session):
        comparison = comparisons[answer.comparison_id or 0]
        model = next(c for c in comparison.conversation.contenders if c.position == answer.position)
        place = (comparison.id, comparison.shown_order.index(answer.position))
        try:
            found.append((place, Pending(answer, ServedModel.of(model, session=session))))
        except AppError as error:
            generations.fail_answer(answer.id, session=session, error=str(error))
            if comparison.campaign_id is not None:
                campaign_tasks.settle([comparison.id], session=session)
    return [pending for _, pending in sorted(found, key=lambda item: item[0])]


def _answer_together(pending: Sequence[Pending], stream: StreamOf, worker: str) -> None:
    """Decode the answers of contenders that share a base model in as few batches as possible.

    If one model fails, its answers record the reason, and the other answers are still written.
    """
    with SERVING.in_use([p.model for p in pending]):
        try:
            served, failed = retry(
                lambda: SERVING.load([p.model for p in pending], worker=worker),
                on_pause=stream(pending).check_wanted,
            )
        except Exception as error:
            _fail(stream(pending), error)
            return
        for model, why in failed.items():
            _fail(stream([p for p in pending if p.model == model]), why)
        ready = []
        for p in pending:
            if p.model in failed:
                continue
            if (refused := served.refusal(p.request)) is None:
                ready.append(p)
            else:
                _fail(stream([p]), refused)
        for batch in _batches(served, ready):
            _answer_batch(served, batch, stream)


def _batches(served: Served, pending: Sequence[Pending]) -> Iterator[list[Pending]]:
    """Whole comparisons, the shortest first, in batches with a limited number of tokens."""
    most = get_settings().answer_batch_rows * TOKENS_A_ROW
    whole = [list(group) for _, group in groupby(pending, key=lambda p: p.generation.comparison_id)]
    sizes = [sum(served.length(p.request) for p in group) for group in whole]
    batch, tokens = list[Pending](), 0
    for place in sorted(range(len(whole)), key=sizes.__getitem__):
        if batch and tokens + sizes[place] > most:
            yield batch
            batch, tokens = [], 0
        batch += whole[place]
        tokens += sizes[place]
    if batch:
        yield batch


def _answer_batch(served: Served, pending: Sequence[Pending], stream: StreamOf) -> None:
    """Decode answers in one batch; if the batch fails, decode each half of it alone."""
    answers_of = stream(pending)
    if answers_of.interrupted():
        return
    try:
        answers_of.start()
        answers = served.answer(
            [p.request for p in pending], on_text=answers_of.on_text, should_stop=answers_of.should_stop
        )
    except Exception as error:
        if answers_of.interrupted():
            return  # the next worker continues
        if len(pending) == 1:
            _fail(answers_of, error)
            return
        log.exception("Answers %s failed together; each half is tried by itself", answers_of.ids)
        short_of_memory = is_out_of_memory(error)
    else:
        if not answers_of.interrupted():
            retry_write(lambda session: answers_of.finish(session, answers))
        return
    if short_of_memory:
        release_cached_memory()
    half = len(pending) // 2
    for some in (pending[:half], pending[half:]):
        _answer_batch(served, some, stream)


def _fail(stream: AnswerStream, error: Exception) -> None:
    log.error("Answers %s failed", stream.ids, exc_info=error)
    sentence = describe(error)
    retry_write(lambda session: stream.fail(session, sentence))
