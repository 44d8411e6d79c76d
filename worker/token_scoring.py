"""Claim scorings of texts, compute them with the served models, and write them token by token."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from itertools import groupby
from uuid import uuid4

from sqlalchemy.orm import Session

from app.errors import AppError
from app.settings import get_settings
from app.store import scorings
from app.store.claims import Claim
from app.store.scorings import SCORING_LEASES
from hypo_engine.distributed.out_of_memory import is_out_of_memory, release_cached_memory
from hypo_engine.errors import memory_full
from hypo_engine.generate import Served
from hypo_engine.token_scores import ScoredText, score_texts
from worker.lease import LeaseRenewer
from worker.retry import SHUTDOWN_SECONDS, retry, retry_write
from worker.scored_models import Job, job_of
from worker.serving import SERVING
from worker.shutdown import released_on_exit
from worker.training import describe

log = logging.getLogger(__name__)


def score_tokens_next(*, worker: str) -> bool:
    """Claim the scoring that has waited longest, and write it; return False if none waits.

    The scorings of one text are claimed together, and computed in one pass for each base model.
    """
    settings, lease = get_settings(), str(uuid4())

    def take(session: Session) -> tuple[list[Claim], list[Job], list[tuple[Claim, str]]]:
        found = scorings.claim_next(
            session=session, worker=worker, lease_seconds=settings.lease_seconds, lease=lease
        )
        jobs, refused = list[Job](), list[tuple[Claim, str]]()
        for scoring in found:
            try:
                jobs.append(job_of(scoring, session=session))
            except AppError as error:
                refused.append((Claim.of(scoring), str(error)))
        return [Claim.of(scoring) for scoring in found], jobs, refused

    claims, jobs, refused = retry_write(take)
    if not claims:
        return False

    def release(seconds: float | None = None) -> None:
        retry_write(lambda session: SCORING_LEASES.release(*claims, session=session), seconds=seconds)

    renewer = LeaseRenewer(SCORING_LEASES, claims, settings.lease_seconds)
    with renewer, released_on_exit(lambda: release(SHUTDOWN_SECONDS)):
        for claim, sentence in refused:
            _fail([claim], sentence)
        jobs.sort(key=lambda job: job.model.base)
        for _, group in groupby(jobs, key=lambda job: job.model.base):
            if not renewer.lost.is_set():
                _score_together(list(group), worker)
    release()
    return True


def _score_together(jobs: Sequence[Job], worker: str) -> None:
    """Score texts of contenders that share a base model. A model that fails does not affect the others."""
    models = list(dict.fromkeys(model for job in jobs for model in (job.model, *job.beside)))
    with SERVING.in_use(models):
        try:
            served, failed = retry(lambda: SERVING.load(models, worker=worker))
        except Exception as error:
            _fail_with((job.claim for job in jobs), error)
            return
        for job in jobs:
            if job.model in failed:
                _fail_with([job.claim], failed[job.model])
        _score(served, [job for job in jobs if job.model not in failed])


def _score(served: Served, jobs: Sequence[Job]) -> None:
    """Score texts in one pass; if that fails, each by itself."""
    if not jobs:
        return
    try:
        found = score_texts(served, [job.request(served) for job in jobs])
    except Exception as error:
        if is_out_of_memory(error):
            release_cached_memory()
        if len(jobs) == 1:
            _fail_with([jobs[0].claim], error)
            return
        for job in jobs:
            _score(served, [job])
        return
    for job, scored in zip(jobs, found, strict=True):
        _finish(job, scored)


def _finish(job: Job, scored: ScoredText) -> None:
    tokens = [[_storable(token.text), *astuple(token)[1:]] for token in scored.tokens]
    retry_write(
        lambda session: scorings.finish(
            job.claim,
            session=session,
            tokens=tokens,
            policy_logp=scored.policy_logp,
            reference_logp=scored.reference_logp,
            step=job.step,
            as_sampled=scored.as_sampled,
        )
    )


def _fail_with(claims: Iterable[Claim], error: Exception) -> None:
    log.error("Scorings failed", exc_info=error)
    if is_out_of_memory(error):
        _fail(claims, memory_full("shorten the text, or score it where more memory is free"))
    else:
        _fail(claims, describe(error))


def _fail(claims: Iterable[Claim], sentence: str) -> None:
    def write(session: Session) -> None:
        for claim in claims:
            scorings.fail(claim, session=session, error=sentence)

    claims = list(claims)
    retry_write(write)


def _storable(text: str) -> str:
    """The text without null characters, which PostgreSQL cannot store."""
    return text.replace("\x00", "\ufffd")
