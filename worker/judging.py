"""Claim verdicts of an automatic judge, ask it in both orders, and write what it says."""

import logging
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import uuid4

from app import endpoints
from app.endpoints import Asked, Client, Endpoint, Stopped, judging
from app.endpoints.judging import Said
from app.errors import AppError
from app.settings import get_settings
from app.store import run_judges, verdicts
from app.store.claims import Claim
from app.store.enums import JudgeKind, Outcome, VerdictStatus
from app.store.models import Judge, JudgeReply
from app.store.verdicts import VERDICT_LEASES, Waiting
from worker.lease import LeaseRenewer
from worker.retry import SHUTDOWN_SECONDS, retry_read, retry_write
from worker.shutdown import released_on_exit
from worker.side_by_side import CLAIMED_ROWS, interrupted, side_by_side

_FORWARD = {Said.A: Outcome.FIRST, Said.B: Outcome.SECOND, Said.TIE: Outcome.TIE}
_BACKWARD = {Said.A: Outcome.SECOND, Said.B: Outcome.FIRST, Said.TIE: Outcome.TIE}

log = logging.getLogger(__name__)


def judge_next(*, worker: str) -> bool:
    """Claim the verdicts that have waited longest, and ask for them; return False if none waits."""
    settings, lease = get_settings(), str(uuid4())
    judge, waiting = retry_write(
        lambda session: verdicts.claim_next(
            JudgeKind.ENDPOINT,
            session=session,
            worker=worker,
            lease_seconds=settings.lease_seconds,
            lease=lease,
            rows=CLAIMED_ROWS,
        )
    )
    if judge is None:
        return False
    claims = [Claim.of(one.verdict) for one in waiting]

    def release(seconds: float | None = None) -> None:
        retry_write(lambda session: VERDICT_LEASES.release(*claims, session=session), seconds=seconds)

    renewer = LeaseRenewer(VERDICT_LEASES, claims, settings.lease_seconds)
    with renewer, released_on_exit(lambda: release(SHUTDOWN_SECONDS)):
        _Sitting(judge, waiting, renewer.lost).hold()
    release()
    return True


class _Sitting:
    """Verdicts of one judge that are asked for side by side.

    Args:
        lost: set once the lease is lost.
    """

    def __init__(self, judge: Judge, waiting: Sequence[Waiting], lost: threading.Event) -> None:
        self._judge = judge
        self._waiting = waiting
        self._lost = lost
        self._wanted = {one.verdict.id for one in waiting}

    def hold(self) -> None:
        try:
            endpoint = self._endpoint()
        except AppError as error:
            for one in self._waiting:
                self._fail(one, str(error))
            self._count()
            return
        client = Client(endpoint)
        try:
            calls = [partial(self._decide, one, endpoint, client) for one in self._waiting]
            side_by_side(calls, at_once=endpoint.max_concurrency, look=self._look)
        finally:
            client.close()
            self._count()

    def _endpoint(self) -> Endpoint:
        """The judge's endpoint, with the model that it had when the judge was started."""
        return endpoints.get(self._judge.name).model_copy(update={"model": self._judge.model})

    def _count(self) -> None:
        """Store the win rates of steps that are judged now."""
        ids = [one.verdict.id for one in self._waiting]
        retry_write(lambda session: run_judges.verdicts_written(self._judge, ids, session=session))

    def _look(self) -> None:
        ids = [one.verdict.id for one in self._waiting]
        self._wanted = retry_read(lambda session: verdicts.still_wanted(ids, session=session))

    def _should_stop(self, one: Waiting) -> bool:
        return interrupted(self._lost) or one.verdict.id not in self._wanted

    def _decide(self, one: Waiting, endpoint: Endpoint, client: Client) -> None:
        """Ask in both orders and write the verdict. An unfinished one stays queued."""
        if self._should_stop(one):
            return
        try:
            forward = self._reply(one, one.first, one.second, endpoint, client)
            backward = self._reply(one, one.second, one.first, endpoint, client)
        except Stopped:
            return
        except Exception as error:
            if not isinstance(error, AppError):
                log.exception("Verdict %s failed unexpectedly", one.verdict.id)
            kind = type(error).__name__
            known = isinstance(error, AppError)
            sentence = str(error) if known else f"The request failed ({kind}); the worker's log tells why."
            self._fail(one, sentence)
            return
        said = judging.read_verdict(forward.text), judging.read_verdict(backward.text)
        retry_write(
            lambda session: verdicts.write(
                one.verdict.id, session=session, replies=(forward.id, backward.id), **_outcome(*said)
            )
        )

    def _reply(self, one: Waiting, a: str, b: str, endpoint: Endpoint, client: Client) -> JudgeReply:
        """The reply to one order: a stored one to the same question, or a new one."""
        judge = self._judge
        text = judging.question(judge.template, one.prompt, a, b)
        sent = {
            "endpoint": judge.name,
            "model": judge.model,
            "seed": judge.seed,
            "max_tokens": judge.max_tokens,
            "question": text,
        }
        key = verdicts.key_of(sent)
        known = retry_read(lambda session: verdicts.stored_reply(key, session=session))
        if known is not None:
            return known
        asked = Asked([{"role": "user", "content": text}], judge.max_tokens, 0.0, 1.0, judge.seed)
        reply = client.complete(asked, should_stop=lambda: self._should_stop(one))
        return retry_write(
            lambda session: verdicts.store_reply(
                key,
                session=session,
                judge_id=judge.id,
                sent=sent,
                text=reply.text,
                input_tokens=reply.input_tokens,
                output_tokens=reply.output_tokens,
                cost=endpoint.cost(reply.input_tokens, reply.output_tokens),
            )
        )

    def _fail(self, one: Waiting, error: str) -> None:
        log.warning("Verdict %s failed: %s", one.verdict.id, error)
        retry_write(
            lambda session: verdicts.write(
                one.verdict.id, session=session, status=VerdictStatus.FAILED, error=error
            )
        )


def _outcome(forward: Said | None, backward: Said | None) -> dict[str, Any]:
    """The verdict that follows from both orders; a disagreement is a tie."""
    if forward is None or backward is None:
        return {"status": VerdictStatus.UNPARSABLE}
    one, other = _FORWARD[forward], _BACKWARD[backward]
    flipped = one is not other
    return {
        "status": VerdictStatus.JUDGED,
        "outcome": Outcome.TIE if flipped else one,
        "flipped": flipped,
    }
