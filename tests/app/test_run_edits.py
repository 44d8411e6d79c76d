"""Editing runs: names, notes, tags and the archive; and what cannot be stored."""

from collections.abc import Sequence

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import run_columns, run_edits
from app.board import read_board
from app.errors import InvalidInput, NotFound
from app.run_edits import Edit, edit
from app.store import labels, metrics, run_tags, runs, tallies
from app.store.enums import Choice, Shelf
from app.store.models import Answerer, Contender, Conversation, Label, Run
from tests.app import arena


def made(session: Session, *names: str) -> list[int]:
    dataset = arena.add_dataset(session)
    found = [arena.add_run(session, name=name, dataset_id=dataset.id).id for name in names]
    session.commit()
    return found


def names(session: Session, **given: object) -> list[str]:
    session.expire_all()
    found = [run.name for run in runs.find(session=session, **given)]  # type: ignore[arg-type]
    session.commit()  # reading locks SQLite, too
    return found


def test_a_run_is_renamed_annotated_tagged_and_archived(session: Session) -> None:
    first, second = made(session, "one", "two")
    edit([first], Edit(name=" first  run ", notes="**Good**\r\nrun", tag=["best", "small"]))
    edit([first, second], Edit(tag=["all"], untag=["small"], archived=True))
    session.expire_all()
    run = runs.get(first, session=session)
    assert (run.name, run.notes) == ("first run", "**Good**\nrun")
    assert run_tags.of_runs([first, second], session=session) == {first: ["all", "best"], second: ["all"]}
    assert run_tags.known(session=session) == ["all", "best"]
    session.commit()
    assert names(session, shelf=Shelf.CURRENT) == []
    assert names(session, shelf=Shelf.ARCHIVED) == ["two", "first run"]
    edit([second], Edit(archived=False, tags=[]))
    assert names(session, shelf=Shelf.CURRENT) == ["two"]
    assert names(session, tag="all") == ["first run"]


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        (Edit(name="\u202etxt.exe"), "name", "The name has the character U+202E"),
        (Edit(name="a\x07b"), "name", "U+0007"),
        (Edit(name="two\nlines"), "name", "U+000A"),
        (Edit(name="\u200b"), "name", "U+200B"),
        (Edit(name="  "), "name", "is empty"),
        (Edit(name="\u200d"), "name", "is empty"),
        (Edit(name="x" * 101), "name", "shorten it to 100"),
        (Edit(notes="x" * 10_001), "notes", "shorten them to 10,000"),
        (Edit(notes="a\x00b"), "notes", "U+0000"),
        (Edit(tag=["a,b"]), "tags", "comma"),
        (Edit(tag=["x" * 41]), "tags", "shorten it to 40"),
        (Edit(tag=[f"t{n}" for n in range(21)]), "tags", "it may have 20"),
        (Edit(tags=["\ud800"]), "tags", "U+D800"),
    ],
)
def test_what_cannot_be_seen_or_is_too_long_is_refused(
    session: Session, change: Edit, field: str, sentence: str
) -> None:
    (run_id,) = made(session, "one")
    with pytest.raises(InvalidInput, match=sentence.replace("+", r"\+")) as refused:
        edit([run_id], change)
    assert refused.value.field == field
    session.expire_all()
    assert runs.get(run_id, session=session).name == "one"


def test_an_edit_of_several_runs_is_whole(session: Session) -> None:
    first, second = made(session, "one", "two")
    with pytest.raises(NotFound):
        edit([first, 999], Edit(archived=True))
    with pytest.raises(InvalidInput, match="one at a time"):
        edit([first, second], Edit(name="both"))
    assert names(session, shelf=Shelf.CURRENT) == ["two", "one"]


def test_a_renamed_run_stays_one_model_in_the_ranking(session: Session) -> None:
    """Its earlier comparisons and votes take the new name, also where a step follows it."""
    comparison = arena.asked(session, ("base", "trained", "other", "early"))
    conversation = session.get_one(Conversation, comparison.conversation_id)
    run_id = next(seat.run_id for seat in conversation.contenders if seat.run_id)
    labels.vote(comparison.id, session=session, user="ana", choice=Choice.BEST, best=0, worst=1)
    session.commit()
    before = read_board(session=session).records
    session.commit()
    edit([run_id], Edit(name="zz renamed"))
    session.expire_all()
    seats = session.scalars(select(Contender.name).where(Contender.run_id == run_id)).all()
    assert set(seats) == {"zz renamed", "zz renamed @ 5"}
    (waiting,) = session.scalars(select(Label.counted))
    assert waiting == 0
    answerers = session.scalars(select(Answerer.id)).all()
    tallies.count_waiting(session=session)
    session.commit()
    after = read_board(session=session).records
    assert session.scalars(select(Answerer.id)).all() == answerers, "no second model"
    assert len(after) == len(before)
    assert any("zz renamed" in (record.first.name, record.second.name) for record in after)


def sorted_names(session: Session, by: str) -> Sequence[str]:
    return names(session, order=run_columns.order_of(by))


def test_runs_are_sorted_by_what_they_reached_those_without_last(session: Session) -> None:
    low, high, none, broken = made(session, "b low", "A high", "c none", "d NaN")
    metric = "eval_rewards/accuracies"
    for run_id, step, value in ((low, 1, 0.9), (low, 2, 0.5), (high, 1, 0.7)):
        metrics.record(run_id, session=session, step=step, values={metric: value})
    if session.get_bind().dialect.name == "postgresql":  # SQLite stores no NaN
        metrics.record(broken, session=session, step=1, values={metric: float("nan")})
    session.get_one(Run, none).started_at = session.get_one(Run, none).created_at
    session.commit()
    assert sorted_names(session, "-accuracy") == ["A high", "b low", "d NaN", "c none"]
    assert sorted_names(session, "accuracy") == ["b low", "A high", "d NaN", "c none"]
    assert sorted_names(session, "name") == ["A high", "b low", "c none", "d NaN"]
    for key in run_columns.SORTABLE:
        assert len(sorted_names(session, key)) == 4
    with pytest.raises(InvalidInput, match="cannot be sorted by 'tags'"):
        run_columns.order_of("tags")


def test_seconds_are_those_between_start_and_end(session: Session) -> None:
    from datetime import timedelta

    first, second = made(session, "long", "short")
    for run_id, seconds in ((first, 90.0), (second, 1.5)):
        run = session.get_one(Run, run_id)
        run.started_at = run.created_at
        run.finished_at = run.created_at + timedelta(seconds=seconds)
    session.commit()
    assert sorted_names(session, "-seconds") == ["long", "short"]
    assert run_edits.split_tags(" a, b ,,c") == ["a", "b", "c"]
