"""Records of seen names: per user and question, regardless of where they were shown."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store import comparisons, label_queries, labels, names
from app.store.conversations import ContenderChoice
from app.store.enums import Choice
from app.store.label_queries import VoteFilter
from app.store.models import Comparison, NamesSeen, User
from tests.app import arena


def seen(session: Session) -> set[tuple[str, int]]:
    rows = session.execute(
        select(User.name, NamesSeen.comparison_id).join(User, NamesSeen.user_id == User.id)
    )
    return {(name, comparison_id) for name, comparison_id in rows}


def next_turn(session: Session, comparison: Comparison, continues_from: int | None) -> Comparison:
    turn = comparisons.ask(
        comparison.conversation_id, "And then?", session=session, continues_from=continues_from
    )
    arena.answer(session, turn, ("this", "that"))
    return turn


def test_the_own_vote_shows_the_names_to_its_voter_alone(session: Session) -> None:
    comparison = arena.asked(session, blind=True)
    assert names.hidden(comparison, "ada", session=session)
    assert labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE).blind
    assert not names.hidden(comparison, "ada", session=session)
    assert names.hidden(comparison, "bob", session=session)
    assert seen(session) == {("ada", comparison.id)}


def test_a_withdrawn_vote_hides_nothing_from_its_voter_and_shows_nothing_to_others(session: Session) -> None:
    comparison = arena.asked(session, blind=True)
    label = labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE)
    labels.withdraw(label.id, session=session, user="ada")
    assert names.hidden(comparison, "bob", session=session)
    assert not labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE).blind
    assert labels.vote(comparison.id, session=session, user="bob", choice=Choice.TIE).blind


def test_a_vote_after_the_names_were_shown_is_not_blind(session: Session) -> None:
    comparison = arena.asked(session, blind=True)
    names.record([comparison.id], "ada", session=session)
    names.record([comparison.id], "ada", session=session)
    assert not labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0).blind
    assert labels.vote(comparison.id, session=session, user="bob", choice=Choice.BEST, best=0).blind


def test_names_of_an_open_conversation_are_hidden_from_nobody(session: Session) -> None:
    comparison = arena.asked(session)
    assert not names.hidden(comparison, "ada", session=session)
    assert not labels.vote(comparison.id, session=session, user="ada", choice=Choice.TIE).blind


def test_every_question_of_a_blind_conversation_is_blind_again(session: Session) -> None:
    first = arena.asked(session, blind=True)
    labels.vote(first.id, session=session, user="ada", choice=Choice.BEST, best=0)
    second = next_turn(session, first, continues_from=0)
    assert names.hidden(second, "ada", session=session)
    assert labels.vote(second.id, session=session, user="ada", choice=Choice.BEST, best=1).blind


def test_each_question_has_an_order_of_sides_of_its_own(session: Session) -> None:
    first = arena.asked(session, ("a", "b", "c"), blind=True)
    orders = {tuple(first.shown_order)}
    turn = first
    for _ in range(12):
        turn = comparisons.ask(first.conversation_id, "Next?", session=session, continues_from=0)
        rows = arena.answer(session, turn, ("x", "y", "z"))
        assert [row.position for row in rows] == turn.shown_order
        assert sorted(row.id for row in rows) == [row.id for row in rows]
        orders.add(tuple(turn.shown_order))
    assert len(orders) > 1
    assert {tuple(sorted(order)) for order in orders} == {(0, 1, 2)}


def test_the_answer_that_is_continued_is_the_one_that_was_shown(session: Session) -> None:
    turn = arena.asked(session, ("a", "b"), blind=True)
    for number in range(6):
        words = (f"left {number}", f"right {number}")
        arena.answer(session, turn, words)
        turn = comparisons.ask(turn.conversation_id, "Next?", session=session, continues_from=number % 2)
        for row in comparisons.answers(turn.id, session=session):
            assert row.prompt.content[-2]["content"] == words[number % 2]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_answers_that_continue_their_own_are_told_apart_together(session: Session, which: int) -> None:
    first = arena.asked(session, blind=True)
    second = next_turn(session, first, continues_from=None)
    third = next_turn(session, second, continues_from=None)
    assert first.shown_order == second.shown_order == third.shown_order
    turns = [first, second, third]
    names.record([turns[which].id], "ada", session=session)
    assert names.hidden_among(turns, "ada", session=session) == set()
    assert names.hidden_among(turns, "bob", session=session) == {turn.id for turn in turns}
    fourth = next_turn(session, third, continues_from=None)
    assert not names.hidden(fourth, "ada", session=session)
    assert names.hidden(next_turn(session, fourth, continues_from=1), "ada", session=session)


def test_a_conversation_with_one_contender_hides_nothing(session: Session) -> None:
    alone = arena.start(session, [ContenderChoice(base_model="demo")], blind=True)
    assert alone.blind is False


def test_lists_say_what_their_reader_may_not_see(session: Session) -> None:
    blind, open_to_all = arena.asked(session, blind=True), arena.asked(session)
    for comparison in (blind, open_to_all):
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0)
    run_id = blind.conversation.contenders[1].run_id

    def hidden(viewer: str | None, **only: object) -> list[bool]:
        found = label_queries.votes(session=session, only=VoteFilter(**only), viewer=viewer)  # type: ignore[arg-type]
        return [vote.hidden for vote in found]

    assert hidden("bob") == [False, True]
    assert hidden("ada") == hidden(None) == [False, False]
    assert hidden("bob", run_id=run_id) == []
    assert hidden("ada", run_id=run_id) == [False]
    assert hidden("bob", choice=Choice.BEST) == [False]
    assert (
        label_queries.count_hidden("bob", session=session),
        label_queries.count_hidden("ada", session=session),
    ) == (
        1,
        0,
    )
    assert label_queries.hidden_comparisons("bob", session=session) == [blind.id]
