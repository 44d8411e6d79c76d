"""New versions without some pairs, on both databases."""

import pytest
from sqlalchemy import Engine

from app import leaving_out
from app.errors import InvalidInput, NotFound, Refused
from app.imports import service
from app.store import datasets, voted_prompts
from app.store.db import read_session, write_session
from app.store.enums import Split
from app.store.models import DatasetPair
from app.store.scored_pairs import Filter, Show
from hypo_engine.data.formats import Pair
from tests.app.scored import add_pairs, add_scoring


def pairs_of(dataset_id: int) -> list[DatasetPair]:
    with read_session() as session:
        return list(datasets.page_of_pairs(dataset_id, session=session, limit=10_000))


def test_the_other_pairs_keep_their_rows_order_and_side(engine: Engine) -> None:
    old = add_pairs(600)
    voted = next(pair for pair in pairs_of(old) if pair.split is Split.HELD_OUT)
    with write_session() as session:  # its prompt was voted on, so that no run uses it
        voted_prompts.take_out_of_evaluation([(old, voted.position)], session=session)
    before = pairs_of(old)
    gone = {0, 1, 250, 599} - {voted.position}
    made = leaving_out.leave_out(old, gone, reason="They are nonsense.")
    after = pairs_of(made.id)
    kept = [pair for pair in before if pair.position not in gone]
    told = ("row", "split", "prompt", "chosen", "rejected")
    assert [[getattr(pair, name) for name in told] for pair in after] == [
        [getattr(pair, name) for name in told] for pair in kept
    ]
    assert Split.VOTED in {pair.split for pair in after}
    assert [pair.position for pair in after] == list(range(len(kept)))
    with read_session() as session:
        new = datasets.get(made.id, session=session)
        account = datasets.account_of(made.id, session=session)
        lines = datasets.page_of_left_out(made.id, session=session)
    assert (made.version, made.left_out, new.left_out_count) == (2, len(gone), len(gone))
    assert new.source == f"scored version 1 without {len(gone)} pairs"
    assert account.left_out == {"They are nonsense.": len(gone)}
    assert "which is from a test" in account.remarks[0]
    assert [line.row for line in lines] == [place + 1 for place in sorted(gone)]
    assert len(pairs_of(old)) == 600, "the old version stays"


def test_what_a_filter_selects_is_left_out_and_the_reason_names_the_model(engine: Engine) -> None:
    old = add_pairs(10, held_out=0)
    scoring = add_scoring(old, [-2.0, 1.0] * 5)
    wanted = Filter((scoring,), Show.MISLABELLED)
    with pytest.raises(Refused, match="By now 5 pairs match instead of 4"):
        leaving_out.leave_out_filtered(old, wanted, expected=4)
    made = leaving_out.leave_out_filtered(old, wanted, expected=5)
    assert [pair.row for pair in pairs_of(made.id)] == [2, 4, 6, 8, 10]
    with read_session() as session:
        (line, *_) = datasets.page_of_left_out(made.id, session=session)
    assert line.reason == "Training pair with a margin below -1 under a dpo run (step 2)."
    both = Filter((scoring, add_scoring(old, [1.0] * 10, name="a hypo run")), Show.MISLABELLED)
    with pytest.raises(InvalidInput, match="No pair matches"):
        leaving_out.leave_out_filtered(old, both)


def test_nothing_is_made_when_nothing_would_remain(engine: Engine) -> None:
    old = add_pairs(10, held_out=0.5)
    train = [pair.position for pair in pairs_of(old) if pair.split is Split.TRAIN]
    refusals = {
        "No pair would remain": range(10),
        "No training pair would remain": train,
    }
    for sentence, positions in refusals.items():
        with pytest.raises(Refused, match=sentence):
            leaving_out.leave_out(old, list(positions))
    for positions in ([], [10], [-1]):
        with pytest.raises(InvalidInput):
            leaving_out.leave_out(old, positions)
    with pytest.raises(InvalidInput, match="at most 200 characters"):
        leaving_out.leave_out(old, [1], reason="x" * 201)
    with pytest.raises(InvalidInput, match="row 11 is no pair"):
        leaving_out.positions_of_rows(old, [1, 11])
    with pytest.raises(NotFound):
        leaving_out.leave_out(99, [1])
    assert leaving_out.positions_of_rows(old, [1, 3]) == [0, 2]
    with read_session() as session:
        assert datasets.count(session=session) == 1


def test_weights_and_margins_stay_with_their_pairs(engine: Engine) -> None:
    pairs = [Pair(f"Question {n}?", "good", "bad", weight=n or 1, margin=n / 2) for n in range(5)]
    old = service.add_pairs(pairs=pairs, name="weighed", source="a test", held_out=0.0)
    made = leaving_out.leave_out(old.id, {1, 4})
    with read_session() as session:
        kept = list(datasets.iter_pairs(made.id, session=session))
        account = datasets.account_of(made.id, session=session)
    assert kept == [pairs[0], pairs[2], pairs[3]]
    assert (account.weights.pairs, account.weights.mean, account.margins.mean) == (2, 2.5, 1.25)
    first = pairs_of(made.id)[0]
    assert (first.weight, first.margin) == (None, None)
