"""The best checkpoint of a run, from the metrics that were stored."""

from sqlalchemy.orm import Session

from app.store import metrics, run_checkpoints
from app.store.models import Run
from tests.app import arena

ACCURACY = "eval_rewards/accuracies"


def run_with(session: Session, values: dict[int, float], metric: str = ACCURACY) -> Run:
    run = arena.add_run(session, steps=(5, 10, 15))
    run.config = run.config | {"metric_for_best_model": metric}
    for step, value in values.items():
        metrics.record(run.id, session=session, step=step, values={ACCURACY: value})
    session.flush()
    return run


def test_the_first_of_the_highest_after_step_0(session: Session) -> None:
    chosen = run_with(session, {0: 0.9, 5: 0.5, 10: 0.8, 15: 0.8})
    unmeasured = run_with(session, {0: 0.9})
    other = run_with(session, {5: 0.9}, metric="eval_objective/scores")
    none = run_with(session, {5: 0.9}, metric="none")
    earlier = arena.add_run(session)
    earlier.config = {name: v for name, v in earlier.config.items() if name != "metric_for_best_model"}
    every = [chosen, unmeasured, other, none, earlier]
    assert [run_checkpoints.best_step_of(run, session=session) for run in every] == [10, *[None] * 4]
    assert run_checkpoints.best_steps(every, session=session) == {chosen.id: 10}


def test_the_best_outlives_those_before_the_last(session: Session) -> None:
    run = run_with(session, {5: 0.5, 10: 0.8})
    gone = run_checkpoints.forget_before(run.id, session=session, step=15, best=10)
    assert gone == [f"runs/{run.id}/5"]
    assert [kept.step for kept in run_checkpoints.of_run(run.id, session=session)] == [10, 15]
