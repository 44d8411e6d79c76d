"""Scorings as work: queued, claimed by a generate worker, written a few pairs at a time, and cancelled.

The pairs of a scoring are written in the order of their positions, together with `done`, in one transaction.
So a worker continues where a dead one stopped, and no pair is written twice.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.store import clock
from app.store.answering import MAX_ANSWER_ATTEMPTS
from app.store.claims import Claim
from app.store.enums import PairScoringStatus
from app.store.leases import Leases
from app.store.models import Checkpoint, DatasetPair, PairScore, PairScoring, Run
from hypo_engine.data.formats import Pair

PAIR_LEASES = Leases(
    model=PairScoring,
    waiting=(PairScoring.status == PairScoringStatus.QUEUED) & PairScoring.lease_id.is_(None),
    held=(PairScoring.lease_until > datetime(1970, 1, 1, tzinfo=UTC))
    & (PairScoring.status == PairScoringStatus.QUEUED),
    free={"lease_id": None, "lease_until": None, "worker": None},
)
"""A cancelled scoring is no longer held, so its worker's writes change nothing."""

DIED = "The worker died repeatedly while it scored these pairs; it may need more memory."


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed scoring, with what its worker needs.

    Attributes:
        config: the run's configuration; None if the run or its checkpoint was deleted.
        checkpoint_path: the checkpoint's key among the artifacts.
        pairs: the next pairs.
    """

    scoring: PairScoring
    config: Mapping[str, Any] | None
    checkpoint_path: str
    pairs: list[Pair]


def get(scoring_id: int, *, session: Session) -> PairScoring:
    """One scoring.

    Raises:
        NotFound: when the id does not exist.
    """
    scoring = session.get(PairScoring, scoring_id)
    if scoring is None:
        raise NotFound(f"There is no scoring {scoring_id}; `hypo datasets scorings DATASET` lists them.")
    return scoring


def of_dataset(dataset_id: int, *, session: Session) -> Sequence[PairScoring]:
    """The scorings of a dataset, newest first."""
    query = select(PairScoring).where(PairScoring.dataset_id == dataset_id)
    return session.scalars(query.order_by(PairScoring.id.desc())).all()


def find(dataset_id: int, checkpoint_id: int, *, session: Session) -> PairScoring | None:
    """The scoring of a dataset under a checkpoint, if there is one."""
    query = select(PairScoring).where(
        PairScoring.dataset_id == dataset_id, PairScoring.checkpoint_id == checkpoint_id
    )
    return session.scalar(query)


# --- queued -> finished | failed | cancelled -> queued --------------------------------------------


def resume(scoring_id: int, *, session: Session) -> None:
    """failed or cancelled -> queued; it continues with the first pair that has no score."""
    session.execute(
        update(PairScoring)
        .where(
            PairScoring.id == scoring_id,
            PairScoring.status.in_([PairScoringStatus.FAILED, PairScoringStatus.CANCELLED]),
        )
        .values(status=PairScoringStatus.QUEUED, error=None, attempt=0, sent_at=None, finished_at=None)
        .execution_options(synchronize_session=False)
    )
    session.expire_all()


def cancel(scoring_id: int, *, session: Session) -> None:
    """queued -> cancelled. Its worker loses the lease; the pairs that are scored stay."""
    session.execute(
        update(PairScoring)
        .where(PairScoring.id == scoring_id, PairScoring.status == PairScoringStatus.QUEUED)
        .values(status=PairScoringStatus.CANCELLED, finished_at=clock.now(), **PAIR_LEASES.free)
        .execution_options(synchronize_session=False)
    )
    session.expire_all()


def claim_next(*, session: Session, worker: str, lease_seconds: float, lease: str, pairs: int) -> Work | None:
    """Claim the scoring that has waited longest, and read its next pairs.

    Args:
        lease: the id of the lease; a repeated call with the same id returns the same scoring.
        pairs: the most pairs to score under this lease.
    """
    found = PAIR_LEASES.claim_next(session=session, worker=worker, lease_seconds=lease_seconds, lease=lease)
    if found is None:
        return None
    run = session.get(Run, found.run_id) if found.run_id else None
    checkpoint = session.get(Checkpoint, found.checkpoint_id) if found.checkpoint_id else None
    query = (
        select(DatasetPair.prompt, DatasetPair.chosen, DatasetPair.rejected)
        .where(DatasetPair.dataset_id == found.dataset_id, DatasetPair.position >= found.done)
        .order_by(DatasetPair.position)
        .limit(pairs)
    )
    return Work(
        found,
        run.config if run is not None and checkpoint is not None else None,
        checkpoint.path if checkpoint is not None else "",
        [Pair(*row) for row in session.execute(query)],
    )


def is_wanted(claim: Claim, *, session: Session) -> bool:
    """Whether the scoring is still this worker's: it was neither cancelled nor lost."""
    return session.scalar(select(PairScoring.id).where(PAIR_LEASES.guard(claim))) is not None


def write(
    claim: Claim,
    scores: Sequence[Mapping[str, Any]],
    *,
    session: Session,
    first: int,
    total: int,
    seconds: float,
) -> bool:
    """Write the scores of the next pairs and release the scoring; False if the claim was lost.

    Args:
        scores: a mapping for each pair, with the columns of `PairScore`.
        first: the position of the first of these pairs, which is `done` so far.
        total: the number of pairs of the dataset.
    """
    done = first + len(scores)
    over = done >= total or not scores
    ending = {"status": PairScoringStatus.FINISHED, "finished_at": clock.now()} if over else {}
    written: Any = session.execute(
        update(PairScoring)
        .where(PAIR_LEASES.guard(claim), PairScoring.done == first)
        .values(
            done=done,
            unscored=PairScoring.unscored + sum(row["margin"] is None for row in scores),
            seconds=PairScoring.seconds + seconds,
            attempt=PairScoring.attempt - 1,
            sent_at=clock.now(),  # a worker that is at it takes the next pairs without a message
            **PAIR_LEASES.free,
            **ending,
        )
        .execution_options(synchronize_session=False)
    )
    if not written.rowcount:
        return False
    if scores:
        rows = [
            {"scoring_id": claim.id, "position": first + place, **row} for place, row in enumerate(scores)
        ]
        session.execute(insert(PairScore), rows)
    session.expire_all()
    return True


def fail(claim: Claim, *, session: Session, error: str) -> None:
    """queued -> failed, by the worker that holds it."""
    values = {"status": PairScoringStatus.FAILED, "error": error, "finished_at": clock.now()}
    PAIR_LEASES.write(claim, session=session, **PAIR_LEASES.free, **values)
    session.expire_all()


def reap(leases: Collection[str], *, session: Session) -> None:
    """Free scorings whose worker died. After too many attempts at the same pairs they fail.

    Args:
        leases: ids of leases that the caller has seen unrenewed. Only the expired ones are reaped.
    """

    def after(scoring: PairScoring) -> Mapping[str, Any]:
        if scoring.attempt >= MAX_ANSWER_ATTEMPTS:
            return {"sent_at": None, "status": PairScoringStatus.FAILED, "error": DIED}
        return {"sent_at": None}

    PAIR_LEASES.reap(leases, session=session, after=after)


def forget_run(run_id: int, *, session: Session) -> None:
    """Cancel the scorings under a run that is deleted. Scores and names stay."""
    for scoring_id in session.scalars(select(PairScoring.id).where(PairScoring.run_id == run_id)).all():
        cancel(scoring_id, session=session)
    session.execute(
        update(PairScoring).where(PairScoring.run_id == run_id).values(run_id=None, checkpoint_id=None)
    )
