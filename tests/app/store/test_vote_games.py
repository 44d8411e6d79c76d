"""The games that a ranking reads: prompts, lengths, hidden names, and the version of the votes."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.store import comparisons, labels, tallies, vote_games
from app.store.enums import Choice
from app.store.models import Comparison, Label, LabelPair
from tests.app import arena


def cast(session: Session, comparison: Comparison, user: str, best: int | None = 1) -> Label:
    choice = Choice.TIE if best is None else Choice.BEST
    return labels.vote(comparison.id, session=session, user=user, choice=choice, best=best)


def prompt_of(session: Session, comparison: Comparison, side: int = 0) -> int:
    return comparisons.answers(comparison.id, session=session)[side].prompt_id


def test_a_game_has_its_prompt_outcome_and_difference_of_lengths(session: Session) -> None:
    comparison = arena.asked(session, ("short", "a longer answer"))
    cast(session, comparison, "ada")
    cast(session, comparison, "bob", None)
    found = sorted(vote_games.games(session=session), key=lambda game: game.outcome)
    prompt = prompt_of(session, comparison)
    first, second = vote_games.answerers({found[0].first, found[0].second}, session=session)
    assert [(game.prompt, game.outcome, game.length) for game in found] == [
        (prompt, "first", 10),  # DPO stands before the reference
        (prompt, "tie", 10),
    ]
    assert {first.method, second.method} == {"dpo", "reference"}


def test_votes_on_one_question_of_two_conversations_share_their_prompt(session: Session) -> None:
    for question in ("Why?", "Why?", "How?"):
        cast(session, arena.asked(session, question=question), "ada")
    prompts = [game.prompt for game in vote_games.games(session=session)]
    assert len(prompts) == 3
    assert len(set(prompts)) == 2


def test_all_pairs_of_a_vote_share_one_prompt_whatever_the_histories(session: Session) -> None:
    first = arena.asked(session, ("one", "two", "three"))
    again = comparisons.ask(first.conversation_id, "And?", session=session, continues_from=None)
    arena.answer(session, again, ("four", "five", "six"))
    prompts = {prompt_of(session, again, side) for side in range(3)}
    assert len(prompts) == 3
    labels.vote(again.id, session=session, user="ada", choice=Choice.BEST, best=0, worst=1)
    assert [game.prompt for game in vote_games.games(session=session)] == [min(prompts)] * 3


def test_a_vote_of_earlier_rules_is_a_prompt_of_its_own_until_it_is_counted(session: Session) -> None:
    label = cast(session, arena.asked(session), "ada")
    session.execute(update(LabelPair).values(prompt_id=None, length_difference=None))
    session.execute(update(Label).values(counted=3))
    (game,) = vote_games.games(session=session)
    assert (game.prompt, game.length) == (-label.id, None)
    before = vote_games.version(session=session)
    tallies.count_waiting(session=session)
    (game,) = vote_games.games(session=session)
    assert game.prompt > 0
    assert game.length is not None
    assert vote_games.version(session=session) != before


def test_names_that_are_hidden_hide_the_games(session: Session) -> None:
    comparison = arena.asked(session, blind=True)
    cast(session, comparison, "ada")
    assert vote_games.games(session=session, viewer="bob") == []
    assert len(vote_games.games(session=session, viewer="ada")) == 1
    assert len(vote_games.games(session=session)) == 1
    before = vote_games.version(session=session, viewer="bob")
    cast(session, comparison, "bob")
    assert len(vote_games.games(session=session, viewer="bob")) == 2
    assert vote_games.version(session=session, viewer="bob") != before


def test_the_version_changes_with_every_vote_change_and_withdrawal(session: Session) -> None:
    comparison = arena.asked(session)
    versions = [vote_games.version(session=session)]

    def note() -> None:
        session.commit()
        versions.append(vote_games.version(session=session))

    label = cast(session, comparison, "ada", 0)
    note()
    assert vote_games.version(session=session) == versions[-1]
    cast(session, comparison, "ada", 1)
    note()
    labels.withdraw(label.id, session=session, user="ada")
    note()
    cast(session, comparison, "ada", 1)
    note()
    assert len(set(versions)) == 5
