"""What a question waits for: the model, the questions before it, other work of its worker."""

import pytest
from sqlalchemy.orm import Session

from app import answer_waits as said
from app.store import answer_waits, comparisons, run_transitions, workers
from app.store.answer_waits import AnswerWait, Cause
from app.store.answering import ANSWER_LEASES
from app.store.conversations import ContenderChoice
from app.store.enums import GenerationStatus, RunStatus
from app.store.models import Comparison
from tests.app import arena

WORKER = "here:1:generate"


def ask(session: Session, question: str = "Why?") -> Comparison:
    chosen = arena.start(session, [ContenderChoice(base_model="demo")])
    return comparisons.ask(chosen.id, question, session=session)


def beat(session: Session, name: str = WORKER, *, queues: str = "generate", loading: str = "") -> None:
    workers.beat(name, session=session, queues=queues, device="CPU", loading=loading)
    session.flush()


def claim(session: Session, comparison: Comparison, worker: str = WORKER) -> None:
    assert ANSWER_LEASES.claim(comparison.id, session=session, worker=worker, lease_seconds=60)
    session.refresh(comparison)


def wait(session: Session, comparison: Comparison) -> AnswerWait:
    return answer_waits.of_comparison(comparison, session=session, queue="generate")


def test_without_a_worker_it_says_so(session: Session) -> None:
    beat(session, "here:2:train", queues="train")
    assert wait(session, ask(session)).cause is Cause.NO_WORKER


def test_questions_before_it_are_counted(session: Session) -> None:
    first, second, third = (ask(session) for _ in range(3))
    beat(session)
    assert [wait(session, one) for one in (first, second, third)] == [
        AnswerWait(Cause.MESSAGE),
        AnswerWait(Cause.QUEUE, before=1),
        AnswerWait(Cause.QUEUE, before=2),
    ]
    claim(session, third)  # one that is being answered is before it, though it was asked later
    assert wait(session, second) == AnswerWait(Cause.QUEUE, before=2)
    assert wait(session, third).cause is Cause.CLAIMED
    arena.answer(session, first, ["Because."])
    assert said.sentence(wait(session, second)) == "1 question is before yours"


def test_its_worker_loads_the_model(session: Session) -> None:
    comparison = ask(session)
    beat(session, loading="org/base")
    assert wait(session, comparison).cause is Cause.LOADING_OTHER
    claim(session, comparison)
    assert said.sentence(wait(session, comparison)) == "loading the model"
    workers.say_loading(WORKER, "", session=session)
    session.expire_all()
    assert wait(session, comparison).cause is Cause.CLAIMED


def test_its_worker_does_something_else_first(session: Session) -> None:
    run = arena.add_run(session, status=RunStatus.QUEUED, steps=())
    comparison = ask(session)
    beat(session, "one:1", queues="train,generate")
    claimed = run_transitions.RUN_LEASES.claim(run.id, session=session, worker="one:1", lease_seconds=60)
    assert claimed is not None
    assert wait(session, comparison) == AnswerWait(Cause.TRAINING, run_id=run.id)
    beat(session)
    assert wait(session, comparison).cause is Cause.MESSAGE


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_sentence(cause: Cause) -> None:
    assert said.sentence(AnswerWait(cause, before=2, run_id=3))


def test_an_endpoints_answer_waits_like_the_others_while_names_are_hidden(session: Session) -> None:
    chosen = arena.start(
        session, [ContenderChoice(base_model="demo"), ContenderChoice(base_model="big", endpoint="far")]
    )
    comparison = comparisons.ask(chosen.id, "Why?", session=session)
    answers = comparisons.answers(comparison.id, session=session)
    models = [chosen.contenders[answer.position or 0] for answer in answers]

    def waits(*, hidden: bool) -> set[str]:
        return set(said.waits(comparison, models, answers, hidden=hidden, session=session))

    assert waits(hidden=False) == {"waiting for a worker: none is running", "waiting for the endpoint"}
    assert waits(hidden=True) == {"waiting for a worker: none is running"}
    next(
        a for a, m in zip(answers, models, strict=True) if m.method == "reference"
    ).status = GenerationStatus.RUNNING
    assert waits(hidden=True) == {"", "waiting for a worker"}
