"""Votes: storage, refusals, and records of seen names."""

import threading

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, Refused
from app.store import comparisons, label_batches, label_queries, labels, removal
from app.store.db import write_session
from app.store.enums import Choice, GenerationStatus
from app.store.label_queries import VoteFilter
from app.store.models import Label
from tests.app import arena


def test_of_two_answers_the_best_implies_the_worst(session: Session) -> None:
    comparison = arena.asked(session)
    shown = [row.id for row in comparisons.answers(comparison.id, session=session)]
    label = labels.vote(
        comparison.id,
        session=session,
        user="ada",
        choice=Choice.BEST,
        best=1,
        reason=" clearer ",
        seconds=3.5,
    )
    assert (label.best_id, label.worst_id) == (shown[1], shown[0])
    assert label.shown == shown
    assert (label.reason, label.seconds, label.blind) == ("clearer", 3.5, False)


def test_a_second_vote_takes_the_place_of_the_first(session: Session) -> None:
    comparison = arena.asked(session)
    first = labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE, seconds=2.0)
    again = labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0, seconds=9.0)
    assert again.id == first.id
    assert (again.choice, again.seconds) == (Choice.BEST, 2.0)
    labels.vote(comparison.id, session=session, user="bob", choice=Choice.ALL_BAD)
    assert label_queries.count(session=session) == {Choice.BEST: 1, Choice.TIE: 0, Choice.ALL_BAD: 1}


@pytest.mark.parametrize(
    ("choice", "best", "worst", "field"),
    [
        (Choice.BEST, None, None, "choice"),
        (Choice.BEST, 0, None, "worst"),
        (Choice.BEST, 0, 0, "worst"),
        (Choice.BEST, 3, 0, "choice"),
        (Choice.BEST, 0, -1, "worst"),
        (Choice.TIE, 0, None, "choice"),
        (Choice.ALL_BAD, None, 1, "choice"),
    ],
)
def test_positions_must_fit_the_choice(
    session: Session, choice: Choice, best: int | None, worst: int | None, field: str
) -> None:
    comparison = arena.asked(session, ("one", "two", "three"))
    with pytest.raises(InvalidInput) as caught:
        labels.vote(comparison.id, session=session, user="ada", choice=choice, best=best, worst=worst)
    assert caught.value.field == field


def test_best_and_worst_of_four(session: Session) -> None:
    comparison = arena.asked(session, ("one", "two", "three", "four"))
    labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=3, worst=1)
    (vote,) = label_queries.votes(session=session)
    assert vote.best is not None
    assert vote.worst is not None
    assert (vote.best.letter, vote.worst.letter) == ("D", "B")
    assert [side.contender.name for side in vote.sides] == ["Reference", "dpo run", "hypo run", "dpo run @ 5"]
    assert [side.step for side in vote.sides] == [None, 10, 10, 5]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (GenerationStatus.QUEUED, "still being written"),
        (GenerationStatus.RUNNING, "still being written"),
        (GenerationStatus.FAILED, "Answer B failed"),
        (GenerationStatus.STOPPED, "Answer B was stopped before its end"),
    ],
)
@pytest.mark.parametrize("choice", Choice)
def test_no_vote_on_an_answer_that_did_not_end(
    session: Session, status: GenerationStatus, sentence: str, choice: Choice
) -> None:
    comparison = arena.asked(session)
    comparisons.answers(comparison.id, session=session)[1].status = status
    best = 0 if choice is Choice.BEST else None
    with pytest.raises(Refused, match=sentence):
        labels.vote(comparison.id, session=session, user="ada", choice=choice, best=best)
    assert label_queries.votes(session=session) == []


def test_an_answer_that_came_to_nothing_is_no_answer_but_an_empty_one_is(session: Session) -> None:
    comparison = arena.asked(session, ("one", ""))
    row = comparisons.answers(comparison.id, session=session)[1]
    row.complete = False
    with pytest.raises(Refused, match="Answer B is empty"):
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0)
    row.complete = True
    assert labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0).blind is False


def test_an_answer_cut_at_the_length_limit_can_be_judged(session: Session) -> None:
    comparison = arena.asked(session)
    comparisons.answers(comparison.id, session=session)[1].complete = False
    assert labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=1).best_id


def test_one_answer_cannot_be_voted_on(session: Session) -> None:
    comparison = arena.asked(session, ("alone",))
    with pytest.raises(Refused, match="at least two"):
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE)


def test_a_long_reason_is_refused(session: Session) -> None:
    comparison = arena.asked(session)
    with pytest.raises(InvalidInput, match="reason"):
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE, reason="x" * 5000)
    label = labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE)
    with pytest.raises(InvalidInput, match="reason"):
        labels.explain(label.id, "x" * 5000, session=session, user="ada")


def test_a_changed_mind_is_not_blind_but_a_changed_reason_is(session: Session) -> None:
    comparison = arena.asked(session, blind=True)
    vote = {"session": session, "user": "ada"}
    assert labels.vote(comparison.id, choice=Choice.BEST, best=0, **vote).blind
    same = labels.vote(comparison.id, choice=Choice.BEST, best=0, reason="warmer", **vote)
    assert same.blind
    assert not labels.vote(comparison.id, choice=Choice.BEST, best=1, **vote).blind
    assert not labels.vote(comparison.id, choice=Choice.BEST, best=0, **vote).blind


def test_every_version_of_a_vote_is_kept(session: Session) -> None:
    comparison = arena.asked(session, blind=True)
    shown = [row.id for row in comparisons.answers(comparison.id, session=session)]
    vote = {"session": session, "user": "ada"}
    label = labels.vote(comparison.id, choice=Choice.BEST, best=0, reason="warmer", seconds=2.0, **vote)
    labels.vote(comparison.id, choice=Choice.BEST, best=0, reason="warmer", **vote)
    labels.explain(label.id, "kinder", **vote)
    labels.vote(comparison.id, choice=Choice.TIE, **vote)
    (now,) = label_queries.votes(session=session)
    assert (now.label.choice, now.label.reason, now.label.blind) == (Choice.TIE, "", False)
    assert [(v.choice, v.best_id, v.reason, v.blind, v.withdrawn) for v in now.earlier] == [
        (Choice.BEST, shown[0], "warmer", True, False),
        (Choice.BEST, shown[0], "kinder", True, False),
    ]
    labels.withdraw(label.id, session=session, user="ada")
    labels.vote(comparison.id, choice=Choice.BEST, best=1, **vote)
    (again,) = label_queries.votes(session=session)
    assert [v.withdrawn for v in again.earlier] == [False, False, True]
    assert not again.label.blind


def test_people_change_and_withdraw_their_own_votes(session: Session) -> None:
    comparison = arena.asked(session, blind=True)
    label = labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE)
    with pytest.raises(Refused, match="This vote is ada's"):
        labels.withdraw(label.id, session=session, user="bob")
    with pytest.raises(Refused, match="This vote is ada's"):
        labels.explain(label.id, "mine", session=session, user="bob")
    labels.withdraw(label.id, session=session, user="ada")
    assert label_queries.votes(session=session) == []
    with pytest.raises(NotFound):
        labels.withdraw(label.id, session=session)


def test_filters_and_pages(session: Session) -> None:
    first, second = arena.asked(session), arena.asked(session)
    labels.vote(first.id, session=session, user="ada", choice=Choice.TIE)
    labels.vote(first.id, session=session, user="bob", choice=Choice.BEST, best=0)
    labels.vote(second.id, session=session, user="ada", choice=Choice.ALL_BAD)
    run_id = first.conversation.contenders[1].run_id

    def found(**only: object) -> list[tuple[str, Choice]]:
        votes = label_queries.votes(session=session, only=VoteFilter(**only))  # type: ignore[arg-type]
        return [(vote.user, vote.label.choice) for vote in votes]

    assert found() == [("ada", Choice.ALL_BAD), ("bob", Choice.BEST), ("ada", Choice.TIE)]
    assert found(user="ada") == [("ada", Choice.ALL_BAD), ("ada", Choice.TIE)]
    assert found(choice=Choice.BEST) == [("bob", Choice.BEST)]
    assert found(run_id=run_id) == [("bob", Choice.BEST), ("ada", Choice.TIE)]
    assert found(user="nobody") == []
    assert len(label_queries.votes(session=session, limit=1, offset=1)) == 1
    assert label_queries.voters(session=session) == ["ada", "bob"]
    assert label_queries.count(session=session, only=VoteFilter(user="bob"))[Choice.BEST] == 1


def test_batches_follow_each_other_oldest_first(session: Session) -> None:
    comparison = arena.asked(session)
    for user in "abcde":
        labels.vote(comparison.id, session=session, user=user, choice=Choice.TIE)
    session.commit()
    batch = label_batches.after(0, session=session, limit=2)
    assert [vote.user for vote in batch] == ["a", "b"]
    rest = label_batches.after(batch[-1].label.id, session=session, limit=9)
    assert [vote.user for vote in rest] == ["c", "d", "e"]
    verdicts = label_batches.verdicts_after(batch[0].label.id, session=session, limit=3)
    assert [verdict.label_id for verdict in verdicts] == [batch[1].label.id, *(v.label.id for v in rest[:2])]
    assert label_batches.verdicts_after(rest[-1].label.id, session=session) == []


def test_a_deleted_run_leaves_its_name_and_its_votes(session: Session) -> None:
    comparison = arena.asked(session)
    run_id = comparison.conversation.contenders[1].run_id
    assert run_id is not None
    labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=1)
    removal.remove(run_id, session=session)
    session.commit()
    (vote,) = label_queries.votes(session=session)
    assert [side.contender.name for side in vote.sides] == ["Reference", "dpo run"]
    assert vote.best is not None
    assert (vote.best.contender.run_id, vote.best.step) == (None, None)


def test_two_tabs_that_vote_at_once_leave_one_vote(engine: Engine) -> None:
    with write_session() as session:
        comparison_id = arena.asked(session).id
    gate, errors = threading.Barrier(4), []

    def vote(choice: Choice) -> None:
        gate.wait()
        try:
            with write_session() as session:
                labels.vote(comparison_id, session=session, user="ada", choice=choice)
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=vote, args=(choice,)) for choice in (Choice.TIE, Choice.ALL_BAD) for _ in "12"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with write_session() as session:
        assert session.scalar(select(func.count()).select_from(Label)) == 1
