"""Datasets and scorings as rows, for tests that load no model."""

from collections.abc import Sequence

from app.imports import service
from app.store import run_checkpoints, users
from app.store.db import write_session
from app.store.enums import MarginKind, PairScoringStatus, RunStatus
from app.store.models import Checkpoint, PairScore, PairScoring, Run
from hypo_engine.data.formats import Pair


def add_pairs(number: int, *, name: str = "scored", held_out: float = 0.3) -> int:
    """A dataset of short pairs; returns its id."""
    pairs = (Pair(f"Question {n}?", f"good {n}", f"bad {n}") for n in range(number))
    return service.add_pairs(pairs=pairs, name=name, source="a test", held_out=held_out).id


def add_run(dataset_id: int, *, method: str = "dpo", status: RunStatus = RunStatus.FINISHED) -> int:
    """A run with a checkpoint of step 2; returns its id."""
    with write_session() as session:
        run = Run(
            name=f"a {method} run",
            method=method,
            status=status,
            dataset_id=dataset_id,
            base_model="demo",
            config={"model_name_or_path": "demo", "method": method},
            seed=0,
        )
        session.add(run)
        session.flush()
        session.add(Checkpoint(run_id=run.id, step=2, path=f"runs/{run.id}/checkpoint-000002"))
        return run.id


def add_scoring(
    dataset_id: int,
    margins: Sequence[float | None],
    *,
    name: str = "a dpo run",
    method: str = "dpo",
    total: int | None = None,
    run_id: int | None = None,
) -> int:
    """A scoring with these margins, as a worker writes it, by the last checkpoint of a run, if one is named.

    Returns:
        The scoring's id.
    """
    with write_session() as session:
        checkpoint = run_checkpoints.last(run_id, session=session) if run_id else None
        scoring = PairScoring(
            dataset_id=dataset_id,
            run_id=run_id,
            checkpoint_id=checkpoint and checkpoint.id,
            user_id=users.ensure("local", session=session).id,
            run_name=name,
            method=method,
            step=2,
            margin_kind=MarginKind.RELATIVE,
            beta=0.1,
            status=PairScoringStatus.FINISHED,
            total=total or len(margins),
            done=len(margins),
            unscored=sum(margin is None for margin in margins),
            seconds=2.0,
        )
        session.add(scoring)
        session.flush()
        for position, margin in enumerate(margins):
            scored = {} if margin is None else {"chosen": -3.0, "rejected": -4.0}
            session.add(
                PairScore(
                    scoring_id=scoring.id,
                    position=position,
                    margin=margin,
                    reason="An answer has more than 12 tokens, its end included." if margin is None else None,
                    **scored,
                )
            )
        return scoring.id
