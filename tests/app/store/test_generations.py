"""Generations: training samples, and the states of an answer."""

import pytest
from sqlalchemy.orm import Session

from app.store import comparisons, generations
from app.store.conversations import ContenderChoice
from app.store.enums import GenerationKind, GenerationStatus
from app.store.generations import TrainingSample
from app.store.models import Generation
from tests.app import arena
from tests.app.store.test_indexes import statements


def sample(
    text: str, *, step: int = 1, kind: GenerationKind = GenerationKind.ONLINE, prompt: object = "Q"
) -> TrainingSample:
    return TrainingSample(kind, step, prompt, text, 2**40, 3, False, -1.5, -2.5)


def waiting_answer(session: Session) -> Generation:
    conversation = arena.start(session, [ContenderChoice(base_model="demo")])
    comparison = comparisons.ask(conversation.id, "Q", session=session)
    return comparisons.answers(comparison.id, session=session)[0]


def test_samples_keep_all_that_made_them(session: Session) -> None:
    run = arena.add_run(session)
    messages = [{"role": "user", "content": "Grüße?"}]
    generations.record_samples(run.id, [sample("so\nlala 🙂", prompt=messages)], session=session)
    session.commit()
    session.expire_all()
    [stored] = generations.of_run(run.id, session=session, kind=GenerationKind.ONLINE)
    assert (stored.text, stored.seed, stored.tokens, stored.complete) == ("so\nlala 🙂", 2**40, 3, False)
    assert (stored.policy_logp, stored.reference_logp, stored.step) == (-1.5, -2.5, 1)
    assert (stored.prompt.content, stored.status) == (messages, GenerationStatus.FINISHED)


def test_many_samples_are_stored_by_few_statements(session: Session) -> None:
    """A write lock is held meanwhile, and SQLite's word index is written at the end of each statement."""
    run = arena.add_run(session)
    prompts = ["old", *(f"new {number}" for number in range(3))]
    generations.record_samples(run.id, [sample("first", prompt="old")], session=session)
    session.commit()
    made = [sample(f"text {number}", prompt=prompts[number % 4]) for number in range(64)]
    with statements(session) as sent:
        generations.record_samples(run.id, made, session=session)
    assert len([said for said, _ in sent if not said.startswith("BEGIN")]) == 4
    stored = generations.of_run(run.id, session=session, kind=GenerationKind.ONLINE, limit=100)
    assert [one.text for one in stored] == ["first", *(one.text for one in made)]
    assert [one.prompt.content for one in stored] == ["old", *(one.prompt for one in made)]
    generations.record_samples(run.id, [], session=session)


def test_a_step_done_again_leaves_its_new_samples_only(session: Session) -> None:
    run, other = arena.add_run(session), arena.add_run(session)
    eval_kind = GenerationKind.EVAL
    old = [sample("a"), sample("b"), sample("c", step=2), sample("e", kind=eval_kind)]
    generations.record_samples(run.id, old, session=session)
    generations.record_samples(other.id, [sample("mine")], session=session)
    session.flush()
    generations.forget_samples(run.id, session=session, kind=GenerationKind.ONLINE, step=1)
    generations.record_samples(run.id, [sample("A"), sample("B")], session=session)
    session.flush()
    online = generations.of_run(run.id, session=session, kind=GenerationKind.ONLINE)
    assert [row.text for row in online] == ["A", "B", "c"]
    assert generations.count_of_run(run.id, session=session, kind=eval_kind) == 1
    assert generations.count_of_run(other.id, session=session, kind=GenerationKind.ONLINE) == 1


def test_samples_of_one_step_and_pages(session: Session) -> None:
    run = arena.add_run(session)
    generations.record_samples(run.id, [sample(str(n), step=n % 2) for n in range(6)], session=session)
    session.flush()

    def texts(**given: int) -> list[str]:
        kind = GenerationKind.ONLINE
        return [row.text for row in generations.of_run(run.id, session=session, kind=kind, **given)]

    assert texts() == ["0", "2", "4", "1", "3", "5"]
    assert texts(step=1) == ["1", "3", "5"]
    assert texts(limit=2, offset=1) == ["2", "4"]


def test_an_answer_goes_its_way(session: Session) -> None:
    row = waiting_answer(session)
    generations.grow_answer(row.id, session=session, text="too early", tokens=1, seconds=0.1)
    session.refresh(row)
    assert (row.status, row.text) == (GenerationStatus.QUEUED, "")
    generations.start_answers([row.id], session=session)
    generations.grow_answer(row.id, session=session, text="so f", tokens=2, seconds=0.1)
    session.refresh(row)
    assert (row.status, row.text, row.tokens) == (GenerationStatus.RUNNING, "so f", 2)


def test_an_answer_taken_up_again_starts_anew(session: Session) -> None:
    row = waiting_answer(session)
    generations.start_answers([row.id], session=session)
    generations.grow_answer(row.id, session=session, text="half", tokens=2, seconds=0.1)
    generations.start_answers([row.id], session=session)
    session.refresh(row)
    assert (row.status, row.text, row.tokens) == (GenerationStatus.RUNNING, "", 0)


@pytest.mark.parametrize("status", [GenerationStatus.STOPPED, GenerationStatus.FINISHED])
def test_what_is_over_stays_as_it_is(session: Session, status: GenerationStatus) -> None:
    row = waiting_answer(session)
    row.status, row.text = status, "the end"
    session.flush()
    generations.start_answers([row.id], session=session)
    generations.grow_answer(row.id, session=session, text="more", tokens=9, seconds=1)
    generations.fail_answer(row.id, session=session, error="late")
    generations.wish_stop([row.id], session=session)
    session.refresh(row)
    assert (row.status, row.text, row.error, row.stop_wished) == (status, "the end", None, False)


def test_stopping_is_at_once_for_those_waiting_and_a_wish_for_the_others(session: Session) -> None:
    waiting, writing = waiting_answer(session), waiting_answer(session)
    generations.start_answers([writing.id], session=session)
    both = [waiting.id, writing.id]
    generations.wish_stop(both, session=session)
    session.expire_all()
    assert (waiting.status, writing.status) == (GenerationStatus.STOPPED, GenerationStatus.RUNNING)
    assert writing.id in generations.stop_wishes(both, session=session)
    assert generations.stop_wishes([], session=session) == set()


@pytest.mark.parametrize("started", [False, True])
def test_a_failed_answer_says_why(session: Session, started: bool) -> None:
    row = waiting_answer(session)
    if started:
        generations.start_answers([row.id], session=session)
    generations.fail_answer(row.id, session=session, error="The model is gone.")
    session.refresh(row)
    assert (row.status, row.error) == (GenerationStatus.FAILED, "The model is gone.")
