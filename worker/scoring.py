"""Verdicts of scorers: rules and reward models that give each answer a number, on a generate worker."""

import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from sqlalchemy.orm import Session

from app import artifacts
from app.errors import Refused
from app.settings import get_settings
from app.store import run_checkpoints, run_judges, verdicts
from app.store.claims import Claim
from app.store.enums import JudgeKind, Outcome, VerdictStatus
from app.store.models import Judge
from app.store.prompts import canonical
from app.store.verdicts import VERDICT_LEASES, Waiting
from hypo_engine.models.load import default_device
from hypo_engine.reward_spec import parse_reward
from hypo_engine.scorers.scorer import Scorer, checked_scores, load_scorer
from hypo_engine.training.checkpoint import CLASSIFIER_FOLDER
from worker.lease import LeaseRenewer
from worker.retry import SHUTDOWN_SECONDS, retry, retry_read, retry_write
from worker.shutdown import released_on_exit
from worker.training import describe

CLAIMED_ROWS = 16
"""Verdicts under one lease: few, because chats wait meanwhile."""

log = logging.getLogger(__name__)
_loaded: dict[str, Scorer] = {}
"""The scorer of the last verdicts, while more of them wait."""


def score_next(*, worker: str) -> bool:
    """Claim the verdicts of a scorer that have waited longest, and write them; return False if none waits."""
    settings, lease = get_settings(), str(uuid4())
    judge, waiting = retry_write(
        lambda session: verdicts.claim_next(
            JudgeKind.SCORER,
            session=session,
            worker=worker,
            lease_seconds=settings.lease_seconds,
            lease=lease,
            rows=CLAIMED_ROWS,
        )
    )
    if judge is None:
        _loaded.clear()
        return False
    claims = [Claim.of(one.verdict) for one in waiting]

    def release(seconds: float | None = None) -> None:
        retry_write(lambda session: VERDICT_LEASES.release(*claims, session=session), seconds=seconds)

    renewer = LeaseRenewer(VERDICT_LEASES, claims, settings.lease_seconds)
    with renewer, released_on_exit(lambda: release(SHUTDOWN_SECONDS)):
        try:
            scores = _scores(_scorer(judge.model), waiting)
        except Exception as error:
            log.error("Verdicts of judge %s failed", judge.id, exc_info=error)
            sentence = describe(error).replace("resume the run", "continue judging")
            retry_write(lambda session: _fail(session, judge, waiting, sentence))
        else:
            if not renewer.lost.is_set():
                retry_write(lambda session: _write(session, judge, waiting, scores))
    release()
    return True


def _scorer(spec: str) -> Scorer:
    if spec not in _loaded:
        _loaded.clear()
        _loaded[spec] = _load(spec)
    return _loaded[spec]


def _load(spec: str) -> Scorer:
    """Load a scorer. The reward model of a run is copied from the artifacts first.

    Raises:
        EngineError: it cannot be loaded.
        Refused: the reward model's run or its files were deleted.
    """
    number = parse_reward(spec).run
    if number is None:
        return load_scorer(spec, device=default_device())
    checkpoint = retry_read(lambda session: run_checkpoints.last(number, session=session))
    if checkpoint is None:
        raise Refused(f"The reward model of run {number} was deleted; start a judge with another scorer.")
    with TemporaryDirectory(prefix="hypo-scoring-") as scratch:
        key = f"{checkpoint.path}/{CLASSIFIER_FOLDER}"
        folder = retry(lambda: artifacts.fetch_folder(key, Path(scratch) / "classifier"))
        return load_scorer(spec, device=default_device(), run_folder=folder)


def _scores(scorer: Scorer, waiting: Sequence[Waiting]) -> dict[tuple[str, str], float]:
    """The score of each answer, by prompt and text. An answer in several pairs is scored once."""
    answers = {}
    for one in waiting:
        for text in (one.first, one.second):
            answers[canonical(one.prompt), text] = one.prompt
    scores = checked_scores(scorer, list(answers.values()), [text for _, text in answers])
    return dict(zip(answers, scores, strict=True))


def _write(
    session: Session, judge: Judge, waiting: Sequence[Waiting], scores: dict[tuple[str, str], float]
) -> None:
    for one in waiting:
        prompt = canonical(one.prompt)
        first, second = scores[prompt, one.first], scores[prompt, one.second]
        outcome = Outcome.TIE if first == second else Outcome.FIRST if first > second else Outcome.SECOND
        verdicts.write(
            one.verdict.id,
            session=session,
            status=VerdictStatus.JUDGED,
            outcome=outcome,
            flipped=False,
            scores=(first, second),
        )
    run_judges.verdicts_written(judge, [one.verdict.id for one in waiting], session=session)


def _fail(session: Session, judge: Judge, waiting: Sequence[Waiting], error: str) -> None:
    for one in waiting:
        verdicts.write(one.verdict.id, session=session, status=VerdictStatus.FAILED, error=error)
    run_judges.verdicts_written(judge, [one.verdict.id for one in waiting], session=session)
