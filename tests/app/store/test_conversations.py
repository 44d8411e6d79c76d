"""Conversations: contenders, the context of each contender, and claims on answers."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, Refused
from app.store import (
    answering,
    comparisons,
    conversations,
    generations,
    labels,
    removal,
    run_checkpoints,
    users,
)
from app.store.answering import ANSWER_LEASES
from app.store.claims import Claim
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import write_session
from app.store.enums import Choice, GenerationStatus, RunStatus
from app.store.models import utcnow
from tests.app import arena


def test_contenders_stand_as_chosen_and_are_named(session: Session) -> None:
    run = arena.add_run(session, "hypo", name="mine", steps=(5, 10))
    early = run_checkpoints.of_run(run.id, session=session)[0]
    unfinished = arena.add_run(session, "dpo", name="going", status=RunStatus.CANCELLED)
    (last,) = run_checkpoints.of_run(unfinished.id, session=session)
    conversation = arena.start(
        session,
        [
            ContenderChoice(base_model="demo"),
            ContenderChoice(run_id=run.id),
            ContenderChoice(run_id=run.id, checkpoint_id=early.id),
            ContenderChoice(run_id=unfinished.id, checkpoint_id=last.id),
        ],
    )
    assert [c.name for c in conversation.contenders] == ["Reference", "mine", "mine @ 5", "going @ 10"]
    assert [c.method for c in conversation.contenders] == ["reference", "hypo", "hypo", "dpo"]
    assert [c.position for c in conversation.contenders] == [0, 1, 2, 3]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("status", RunStatus)
def test_runs_that_did_not_finish_answer_once_they_are_over_and_by_checkpoint(
    session: Session, status: RunStatus, named: bool
) -> None:
    run = arena.add_run(session, status=status)
    (checkpoint,) = run_checkpoints.of_run(run.id, session=session)
    choice = ContenderChoice(run_id=run.id, checkpoint_id=checkpoint.id if named else None)
    if status is RunStatus.FINISHED or (status.is_over and named):
        assert arena.start(session, [choice]).contenders[0].checkpoint_id == checkpoint.id
    else:
        with pytest.raises(Refused, match=f"Run {run.id} is {status.value}"):
            arena.start(session, [choice])


def test_a_blind_conversation_shuffles(session: Session) -> None:
    run = arena.add_run(session)
    choices = [ContenderChoice(base_model="demo"), ContenderChoice(run_id=run.id)]
    started = [arena.start(session, choices, blind=True) for _ in range(40)]
    first = {comparisons.ask(c.id, "Q", session=session).shown_order[0] for c in started}
    assert first == {0, 1}


SYSTEM = {"role": "system", "content": "Be brief."}
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def test_all_see_the_messages_before_the_first_question(session: Session) -> None:
    conversation = arena.start(session, [ContenderChoice(base_model="demo")], opening=[SYSTEM, *TURNS])
    first = comparisons.ask(conversation.id, "Why?", session=session)
    (row,) = arena.answer(session, first, ("because",))
    assert row.prompt.content == [SYSTEM, *TURNS, {"role": "user", "content": "Why?"}]
    second = comparisons.ask(conversation.id, "And?", session=session, continues_from=0)
    (row,) = comparisons.answers(second.id, session=session)
    assert [m["content"] for m in row.prompt.content] == [
        "Be brief.",
        "Hi",
        "Hello",
        "Why?",
        "because",
        "And?",
    ]


@pytest.mark.parametrize(
    "opening",
    [
        [{"role": "robot", "content": "x"}],
        [{"role": "user"}],
        [SYSTEM, {"role": "user", "content": None}],
        [SYSTEM] * 201,
    ],
)
def test_a_bad_opening_is_refused(session: Session, opening: list[dict[str, str]]) -> None:
    with pytest.raises(InvalidInput, match="opening"):
        arena.start(session, [ContenderChoice(base_model="demo")], opening=opening)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"decoding": Decoding(max_new_tokens=0)}, "max_new_tokens"),
        ({"decoding": Decoding(temperature=-0.1)}, "temperature"),
        ({"decoding": Decoding(temperature=float("nan"))}, "temperature"),
        ({"decoding": Decoding(top_p=0)}, "top_p"),
    ],
)
def test_bad_parameters_are_named(session: Session, values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        arena.start(session, [ContenderChoice(base_model="demo")], **values)


def test_bad_choices_are_refused(session: Session) -> None:
    reference = ContenderChoice(base_model="demo")
    with pytest.raises(InvalidInput, match="between 1 and 4"):
        arena.start(session, [])
    with pytest.raises(InvalidInput, match="between 1 and 4"):
        arena.start(session, [ContenderChoice(base_model=str(n)) for n in range(5)])
    with pytest.raises(InvalidInput, match="twice"):
        arena.start(session, [reference, reference])
    with pytest.raises(InvalidInput, match="base model"):
        arena.start(session, [ContenderChoice()])
    with pytest.raises(NotFound, match="no run 99"):
        arena.start(session, [ContenderChoice(run_id=99)])
    with pytest.raises(Refused, match="trains a reward model, which writes no answers"):
        arena.start(session, [ContenderChoice(run_id=arena.add_run(session, "reward").id)])
    with pytest.raises(Refused, match="no such checkpoint"):
        arena.start(session, [ContenderChoice(run_id=arena.add_run(session, steps=()).id)])


def test_a_question_queues_an_answer_a_contender(session: Session) -> None:
    run = arena.add_run(session)
    conversation = arena.start(
        session, [ContenderChoice(base_model="demo"), ContenderChoice(run_id=run.id)], seed=11
    )
    comparison = comparisons.ask(conversation.id, "  Why?\x00 ", session=session, continues_from=1)
    rows = comparisons.answers(comparison.id, session=session)
    assert [row.status for row in rows] == [GenerationStatus.QUEUED] * 2
    assert {row.seed for row in rows} == {11}
    assert rows[0].parameters == {"max_new_tokens": 128, "temperature": 0.7, "top_p": 1.0}
    assert rows[0].prompt_id == rows[1].prompt_id
    assert rows[0].prompt.content == [{"role": "user", "content": "Why?"}]
    assert (comparison.turn, comparison.continues_from) == (0, None)
    with pytest.raises(Refused, match="still being answered"):
        comparisons.ask(conversation.id, "And?", session=session)


@pytest.mark.parametrize("question", ["", " \n", "x" * 20])
def test_empty_and_long_questions_are_refused(session: Session, question: str) -> None:
    conversation = arena.start(session, [ContenderChoice(base_model="demo")])
    with pytest.raises(InvalidInput, match="question"):
        comparisons.ask(conversation.id, question, session=session, max_chars=10)


def test_all_see_the_answer_the_turn_continues_from(session: Session) -> None:
    first = arena.asked(session, ("one", "two"), question="Q1")
    second = comparisons.ask(first.conversation_id, "Q2", session=session, continues_from=1)
    rows = comparisons.answers(second.id, session=session)
    assert rows[0].prompt_id == rows[1].prompt_id
    assert [message["content"] for message in rows[0].prompt.content] == ["Q1", "two", "Q2"]


def test_each_may_continue_its_own(session: Session) -> None:
    first = arena.asked(session, ("one", "two"), question="Q1")
    second = comparisons.ask(first.conversation_id, "Q2", session=session)
    arena.answer(session, second, ("three", "four"))
    third = comparisons.ask(first.conversation_id, "Q3", session=session)
    seen = [
        [message["content"] for message in row.prompt.content]
        for row in comparisons.answers(third.id, session=session)
    ]
    assert seen == [["Q1", "one", "Q2", "three", "Q3"], ["Q1", "two", "Q2", "four", "Q3"]]


def test_an_empty_answer_cannot_be_continued(session: Session) -> None:
    first = arena.asked(session, ("one", " "))
    for continues_from in (None, 1):
        with pytest.raises(Refused, match="Answer B is empty"):
            comparisons.ask(first.conversation_id, "Q2", session=session, continues_from=continues_from)
    with pytest.raises(InvalidInput, match="continues_from"):
        comparisons.ask(first.conversation_id, "Q2", session=session, continues_from=2)
    comparisons.ask(first.conversation_id, "Q2", session=session, continues_from=0)


def test_a_deleted_run_cannot_answer_any_more(session: Session) -> None:
    first = arena.asked(session)
    removal.remove(first.conversation.contenders[1].run_id or 0, session=session)
    session.commit()
    with pytest.raises(Refused, match="dpo run was deleted"):
        comparisons.ask(first.conversation_id, "Q2", session=session, continues_from=0)
    with pytest.raises(Refused, match="dpo run was deleted"):
        comparisons.regenerate(first.id, 0, session=session)
    assert [row.text for row in comparisons.answers(first.id, session=session)] == [
        "first answer",
        "second answer",
    ]


def test_regenerating_is_another_take_with_the_next_seed(session: Session) -> None:
    comparison = arena.asked(session)
    fresh = comparisons.regenerate(comparison.id, 1, session=session)
    assert (fresh.take, fresh.seed, fresh.status) == (1, 8, GenerationStatus.QUEUED)
    assert [row.take for row in comparisons.answers(comparison.id, session=session)] == [0, 1]
    with pytest.raises(Refused, match="still being written"):
        comparisons.regenerate(comparison.id, 1, session=session)
    for side in (2, -1):
        with pytest.raises(NotFound):
            comparisons.regenerate(comparison.id, side, session=session)


def test_a_voted_or_continued_turn_is_not_regenerated(session: Session) -> None:
    comparison = arena.asked(session)
    label = labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE)
    with pytest.raises(Refused, match="withdraw the vote"):
        comparisons.regenerate(comparison.id, 0, session=session)
    labels.withdraw(label.id, session=session)
    comparisons.ask(comparison.conversation_id, "Q2", session=session, continues_from=0)
    with pytest.raises(Refused, match="last turn"):
        comparisons.regenerate(comparison.id, 0, session=session)


def test_recent_conversations_of_a_person(session: Session) -> None:
    one = arena.start(session, [ContenderChoice(base_model="demo")], user="ada")
    two = arena.start(session, [ContenderChoice(base_model="demo")], user="bob")
    assert [c.id for c in conversations.recent(session=session)] == [two.id, one.id]
    assert [c.id for c in conversations.recent(session=session, user="ada")] == [one.id]
    with pytest.raises(NotFound):
        conversations.get(999, session=session)


def test_two_tabs_that_ask_at_once_make_one_turn(engine: Engine) -> None:
    with write_session() as session:
        conversation_id = arena.start(session, [ContenderChoice(base_model="demo")]).id
    gate, outcomes = threading.Barrier(3), []

    def ask() -> None:
        gate.wait()
        try:
            with write_session() as session:
                comparisons.ask(conversation_id, "Q", session=session)
            outcomes.append("asked")
        except Refused:
            outcomes.append("refused")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["asked", "refused", "refused"]


def test_two_writers_of_one_new_name_agree(engine: Engine) -> None:
    gate, ids = threading.Barrier(3), []

    def ensure() -> None:
        gate.wait()
        with write_session() as session:
            ids.append(users.ensure("ada", session=session).id)

    threads = [threading.Thread(target=ensure) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_one_worker_claims_and_a_lost_lease_is_claimed_again(session: Session) -> None:
    comparison = arena.asked(session)
    assert ANSWER_LEASES.claim(comparison.id, session=session, worker="w", lease_seconds=60) is None
    comparisons.regenerate(comparison.id, 0, session=session)
    held = ANSWER_LEASES.claim(comparison.id, session=session, worker="w", lease_seconds=60)
    assert held is not None
    claim = Claim.of(held)
    assert ANSWER_LEASES.claim(comparison.id, session=session, worker="w", lease_seconds=60) is None
    assert ANSWER_LEASES.renew(claim, session=session, lease_seconds=60)
    assert not ANSWER_LEASES.renew(replace(claim, lease="another"), session=session, lease_seconds=60)
    assert ANSWER_LEASES.take_undelivered(session=session, resend_seconds=60) == []
    leases = ANSWER_LEASES.all_held(session=session)
    assert list(leases) == [held.lease_id]
    answering.reap(leases, session=session)
    assert list(ANSWER_LEASES.all_held(session=session)) == [held.lease_id], "a lease that is not over"
    ANSWER_LEASES.expire(leases, session=session)
    assert ANSWER_LEASES.take_undelivered(session=session, resend_seconds=60) == [], (
        "held until it is taken back"
    )
    answering.reap([], session=session)
    assert ANSWER_LEASES.is_undelivered(session=session, resend_seconds=60) is False
    answering.reap(leases, session=session)
    assert ANSWER_LEASES.is_undelivered(session=session, resend_seconds=60)
    assert ANSWER_LEASES.take_undelivered(session=session, resend_seconds=60) == [comparison.id]
    assert ANSWER_LEASES.take_undelivered(session=session, resend_seconds=60) == [], "sent a moment ago"
    ANSWER_LEASES.unsend([comparison.id], session=session)
    assert ANSWER_LEASES.take_undelivered(session=session, resend_seconds=60) == [comparison.id]
    again = ANSWER_LEASES.claim(comparison.id, session=session, worker="w", lease_seconds=60)
    assert again is not None
    assert again.attempt == 2
    ANSWER_LEASES.release(Claim.of(again), session=session)
    session.refresh(comparison)
    assert comparison.lease_id is None


def test_answers_whose_worker_died_again_and_again_fail(session: Session) -> None:
    comparison = arena.asked(session)
    comparisons.regenerate(comparison.id, 0, session=session)
    comparison.attempt = answering.MAX_ANSWER_ATTEMPTS
    comparison.lease_id, comparison.lease_until = "lease", utcnow() - timedelta(seconds=1)
    session.flush()
    answering.reap(ANSWER_LEASES.all_held(session=session), session=session)
    session.expire_all()
    assert comparisons.answers(comparison.id, session=session)[0].status is GenerationStatus.FAILED
    assert comparisons.regenerate(comparison.id, 0, session=session).take == 2
    assert comparison.attempt == 0


def test_an_answer_grows_stops_and_keeps_its_log_probabilities(session: Session) -> None:
    comparison = arena.asked(session)
    fresh = comparisons.regenerate(comparison.id, 0, session=session)
    generations.start_answers([fresh.id], session=session)
    generations.grow_answer(fresh.id, session=session, text="so f", tokens=2, seconds=0.1)
    generations.wish_stop([fresh.id], session=session)
    assert generations.stop_wishes([fresh.id], session=session) == {fresh.id}
    generations.finish_answer(
        fresh.id,
        session=session,
        status=GenerationStatus.STOPPED,
        text="so far",
        tokens=2,
        seconds=0.2,
        complete=False,
        policy_logp=-1.0,
        reference_logp=-2.0,
        token_logps=[["so", -0.5, -1.0], [" far", -0.5, -1.0]],
    )
    session.expire_all()
    stored = comparisons.answers(comparison.id, session=session)[0]
    assert (stored.status, stored.text, stored.policy_logp) == (GenerationStatus.STOPPED, "so far", -1.0)
    assert comparisons.count(session=session) == 1
