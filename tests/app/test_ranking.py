"""The ranking: from votes to models, hidden names, the reference, and boards kept in memory."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app import ranking
from app.errors import NotFound
from app.ranking import Ranking, read_ranking
from app.store import comparisons, labels
from app.store.conversations import ContenderChoice
from app.store.enums import Choice
from app.store.models import Run
from tests.app import arena


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The numbers of games of the boards that were computed."""
    numbers: list[int] = []
    real = ranking.make_board

    def counted(games: Any, *given: Any, **options: Any) -> Any:
        numbers.append(len(games))
        return real(games, *given, **options)

    monkeypatch.setattr(ranking, "make_board", counted)
    return iter([numbers]).__next__()


def ask(session: Session, contenders: list[ContenderChoice], question: str, **given: Any) -> int:
    conversation = arena.start(session, contenders, **given)
    comparison = comparisons.ask(conversation.id, question, session=session)
    arena.answer(session, comparison, [f"answer {'x' * at}" for at in range(len(contenders))])
    return comparison.id


def vote(session: Session, comparison: int, best: int | None, user: str = "ada") -> None:
    choice = Choice.TIE if best is None else Choice.BEST
    labels.vote(comparison, session=session, user=user, choice=choice, best=best)


def won_by(session: Session, run: Run, wins: int, losses: int) -> None:
    """Votes of a run against the base model, each on a prompt of its own."""
    pair = [ContenderChoice(base_model="demo"), ContenderChoice(run_id=run.id)]
    for number in range(wins + losses):
        comparison = ask(session, pair, f"Question {number}?")
        vote(session, comparison, 1 if number < wins else 0)
    session.flush()


def names(found: Ranking) -> list[str]:
    return [found.names[at] for at in found.order]


def test_no_votes_make_an_empty_ranking(session: Session) -> None:
    found = read_ranking(session=session, viewer="ada")
    assert (found.models, found.order, found.neighbours, found.board.reference) == ([], [], [], None)


def test_models_are_ranked_against_the_only_base_model(session: Session) -> None:
    strong, weak = arena.add_run(session, "hypo", name="strong"), arena.add_run(session, name="weak")
    won_by(session, strong, 25, 5)
    won_by(session, weak, 5, 25)
    found = read_ranking(session=session)
    assert names(found) == ["strong", "Reference", "weak"]
    assert [found.rank(at) for at in found.order] == [1, 2, 3]
    assert [pair.more_votes for pair in found.neighbours] == [0, 0]
    assert (found.games, found.prompts, found.has_intervals) == (60, 30, True)
    assert found.board.reference == found.order[1]
    rate = found.board.against[found.order[0]]
    assert rate is not None
    assert rate.rate == 25 / 30
    assert (
        read_ranking(session=session, reference=found.ids[found.order[0]]).board.reference == found.order[0]
    )


def test_few_prompts_give_no_intervals_and_no_ranks(session: Session) -> None:
    won_by(session, arena.add_run(session), 2, 1)
    found = read_ranking(session=session)
    assert not found.has_intervals
    assert [found.rank(at) for at in found.order] == [None, None]
    assert [pair.more_votes for pair in found.neighbours] == [None]


def test_models_without_a_connection_are_not_ranked(session: Session) -> None:
    won_by(session, arena.add_run(session), 4, 2)
    apart = [arena.add_run(session, name=name) for name in ("one", "two")]
    vote(session, ask(session, [ContenderChoice(run_id=run.id) for run in apart], "And?"), 0)
    found = read_ranking(session=session)
    assert sorted(found.names[at] for at in found.unrated) == ["one", "two"]


def test_models_of_one_name_are_told_apart(session: Session) -> None:
    runs = [arena.add_run(session, name="same") for _ in range(2)]
    contenders = [ContenderChoice(base_model=base) for base in ("demo", "org/other")]
    contenders += [ContenderChoice(run_id=run.id) for run in runs]
    comparison = ask(session, contenders, "Why?")
    labels.vote(comparison, session=session, user="ada", choice=Choice.BEST, best=0, worst=1)
    found = read_ranking(session=session)
    expected = {"Reference (demo)", "Reference (org/other)"} | {f"same (#{run.id}, step 10)" for run in runs}
    assert set(found.names) == expected
    assert found.board.reference is None


def test_a_reference_without_votes_is_not_found(session: Session) -> None:
    won_by(session, arena.add_run(session), 1, 0)
    with pytest.raises(NotFound, match="No model 4711"):
        read_ranking(session=session, reference=4711)


def test_votes_with_hidden_names_are_left_out(session: Session) -> None:
    run = arena.add_run(session)
    pair = [ContenderChoice(base_model="demo"), ContenderChoice(run_id=run.id)]
    comparison = ask(session, pair, "Why?", blind=True)
    vote(session, comparison, 1)
    seen, unseen = (read_ranking(session=session, viewer=user) for user in ("ada", "bob"))
    assert (seen.games, seen.hidden) == (1, 0)
    assert (unseen.games, unseen.hidden, unseen.models) == (0, 1, [])
    vote(session, comparison, 0, "bob")
    assert read_ranking(session=session, viewer="bob").games == 2


def test_a_board_is_computed_again_only_after_a_change(session: Session, computed: list[int]) -> None:
    run = arena.add_run(session)
    won_by(session, run, 3, 2)
    for _ in range(3):
        read_ranking(session=session, viewer="ada")
    read_ranking(session=session, viewer="bob")
    assert computed == [5]
    won_by(session, run, 1, 0)
    read_ranking(session=session, viewer="ada")
    assert computed == [5, 6]
    read_ranking(session=session, reference=read_ranking(session=session).ids[0])
    assert computed == [5, 6, 6]


def test_only_the_last_boards_are_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "KEPT_BOARDS", 2)
    run = arena.add_run(session)
    for _ in range(4):
        won_by(session, run, 1, 0)
        read_ranking(session=session)
    assert len(ranking._kept) == 2
