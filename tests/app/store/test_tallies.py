"""Tallies: the stored counts always equal counts computed from the votes."""

from collections import Counter

import pytest
from sqlalchemy import Engine, delete, update
from sqlalchemy.orm import Session

from app import board, migrate
from app.deletion import delete_run
from app.exports import labels as exports
from app.store import comparisons, labels, tallies, vote_totals
from app.store.db import read_session, write_session
from app.store.enums import Choice, GenerationStatus, WhyLeftOut
from app.store.models import Generation, Label, LabelPair
from app.store.vote_rules import Answer, outcome_of, why_left_out
from tests.app import arena


def numbers() -> list[tuple[int, int, int, int]]:
    with read_session() as session:
        found = board.read_board(session=session)
    return [(r.wins, r.losses, r.ties, r.all_bad) for r in found.records]


def test_a_changed_vote_counts_once_and_a_withdrawn_one_not_at_all(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session).id
        label = labels.vote(comparison, session=session, user="ada", choice=Choice.BEST, best=0)
    assert numbers() == [(0, 1, 0, 0)]
    with write_session() as session:
        labels.vote(comparison, session=session, user="ada", choice=Choice.BEST, best=1)
    assert numbers() == [(1, 0, 0, 0)]
    with write_session() as session:
        labels.vote(comparison, session=session, user="ada", choice=Choice.TIE)
    assert numbers() == [(0, 0, 1, 0)]
    with write_session() as session:
        labels.withdraw(label.id, session=session, user="ada")
    assert numbers() == []
    assert exports.count_trl().rows == 0


def test_one_model_in_many_conversations_has_one_record(engine: Engine) -> None:
    with write_session() as session:
        first = arena.asked(session)
        choices = [
            arena.ContenderChoice(base_model="demo"),
            arena.ContenderChoice(run_id=first.conversation.contenders[1].run_id),
        ]
        again = comparisons.ask(arena.start(session, choices).id, "And?", session=session)
        arena.answer(session, again, ("one", "two"))
        for comparison, best in ((first, 1), (again, 0)):
            labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=best)
    assert numbers() == [(1, 1, 0, 0)]


def test_of_a_deleted_run_the_record_stays_with_its_name(engine: Engine) -> None:
    with write_session() as session:
        comparison = arena.asked(session)
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=1)
        run_id = comparison.conversation.contenders[1].run_id
    assert run_id is not None
    delete_run(run_id)
    with read_session() as session:
        (record,) = board.read_board(session=session).records
    assert (record.first.name, record.first.run_id, record.first.step, record.wins) == (
        "dpo run",
        None,
        None,
        1,
    )


def test_votes_of_before_are_counted_by_a_migration(engine: Engine) -> None:
    with write_session() as session:
        for number in range(3):
            comparison = arena.asked(session, ("one", "two and more"))
            labels.vote(comparison.id, session=session, user=f"ada {number}", choice=Choice.BEST, best=1)
        session.execute(delete(LabelPair))
        nothing = {"counted": 0, "left_out": "ties", "first_side": None, "longer": None}
        session.execute(update(Label).values(**nothing))
    assert (numbers(), exports.count_trl().rows) == ([], 0)
    migrate.count_votes()
    assert numbers() == [(1, 0, 0, 0)] * 3
    assert exports.count_trl().rows == 3
    with read_session() as session:
        found = board.read_board(session=session)
    assert (found.longer, found.longer_of, found.first_side, found.two_sided) == (3, 3, 0, 3)
    with write_session() as session:
        assert tallies.count_waiting(session=session) == 0


def test_records_come_in_pages_with_the_most_votes_first(engine: Engine) -> None:
    with write_session() as session:
        for voters in (1, 3, 2):
            comparison = arena.asked(session)
            for number in range(voters):
                labels.vote(comparison.id, session=session, user=f"v{number}", choice=Choice.BEST, best=0)
    with read_session() as session:
        pages = [board.read_board(session=session, limit=2, offset=offset) for offset in (0, 2)]
    assert [[record.votes for record in page.records] for page in pages] == [[3, 2], [1]]
    assert [page.record_count for page in pages] == [3, 3]
    assert pages[0].votes == 6


def test_agreement_counts_every_two_voters_of_a_comparison(session: Session) -> None:
    for choices in ((0, 0, 1), (1, 1), (0,)):
        comparison = arena.asked(session)
        for number, best in enumerate(choices):
            labels.vote(comparison.id, session=session, user=f"v{number}", choice=Choice.BEST, best=best)
    assert vote_totals.agreement(session=session) == (2, 4)


def test_an_answer_cut_by_the_length_limit_marks_the_vote(session: Session) -> None:
    comparison = arena.asked(session)
    session.execute(update(Generation).values(complete=False))
    label = labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0)
    tie = labels.vote(comparison.id, session=session, user="bob", choice=Choice.TIE)
    assert (label.cut, tie.cut) == (True, False)


def test_an_answer_that_was_stopped_counts_nowhere(session: Session) -> None:
    """Older versions accepted such votes."""
    comparison = arena.asked(session, ("one", "two", "three"))
    label = labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=0, worst=1)
    stopped = comparisons.answers(comparison.id, session=session)[1]
    stopped.status, stopped.complete = GenerationStatus.STOPPED, False
    tallies.count([label.id], session=session)
    session.refresh(label)
    assert (label.left_out, label.longer, label.cut) == (WhyLeftOut.UNFINISHED, None, False)
    (pair,), met = vote_totals.pairs(session=session)
    assert met == 1
    assert {pair.first.name, pair.second.name} == {"Reference", "hypo run"}


def said(number: int, text: str, prompt: int = 1, *, ended: bool = True) -> Answer:
    return Answer(number, number, prompt, text, complete=True, ended=ended)


@pytest.mark.parametrize(
    ("choice", "best", "worst", "reason"),
    [
        (Choice.BEST, said(1, "a"), said(2, "b"), None),
        (Choice.TIE, None, None, "ties"),
        (Choice.ALL_BAD, None, None, "all_bad"),
        (Choice.BEST, said(1, "a"), said(2, "b", prompt=2), "different_histories"),
        (Choice.BEST, said(1, "a"), said(2, " a\n"), "same_text"),
        (Choice.BEST, said(1, "a"), said(2, " \n"), "empty_answer"),
        (Choice.BEST, said(1, "a", ended=False), said(2, "b"), "unfinished_answer"),
        (Choice.BEST, said(1, "a"), said(2, "b", prompt=2, ended=False), "unfinished_answer"),
    ],
)
def test_why_a_vote_makes_no_pair(
    choice: Choice, best: Answer | None, worst: Answer | None, reason: str | None
) -> None:
    assert why_left_out(choice, best, worst) == reason


def test_the_best_of_four_beats_three_and_the_worst_loses_to_three() -> None:
    outcomes = Counter(
        outcome_of(Choice.BEST, 3, 1, one, other)
        for one in (1, 2, 3, 4)
        for other in (1, 2, 3, 4)
        if one < other
    )
    assert outcomes == {"first": 1, "second": 4, None: 1}
