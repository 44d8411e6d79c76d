"""Orders, filters and pages of scored pairs, on both databases."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from app import pair_scoring
from app.errors import InvalidInput, NotFound, Refused
from app.store import scored_pairs
from app.store.db import read_session, write_session
from app.store.enums import Split
from app.store.models import PairScore
from app.store.scored_pairs import Filter, Place, Show
from tests.app.scored import add_pairs, add_run, add_scoring

FIRST = [0.5, -2.0, None, -0.25, 0.25, 3.0, -1.5, 0.25, 0.0, -0.25]
SECOND = [0.1, -1.0, -3.0, 0.5, 0.5, 0.5, -0.5, 0.5, 0.5, -0.1]

EXPECTED = {
    Show.ALL: list(range(10)),
    Show.WRONG: [1, 6, 3, 9],
    Show.SURE: [5, 0, 7, 4],
    Show.NEAR: [8, 4, 7, 9, 3, 0, 6, 1, 5],
    Show.MISLABELLED: [1, 6, 9],
    Show.UNSCORED: [2],
}


def test_every_order_is_the_same_page_by_page(engine: Engine) -> None:
    dataset = add_pairs(10, held_out=0)
    add_scoring(add_pairs(10, name="other"), SECOND)  # scores of another dataset are not mixed in
    both = Filter((add_scoring(dataset, FIRST), add_scoring(dataset, SECOND)))
    with read_session() as session:
        for show, expected in EXPECTED.items():
            wanted = replace(both, show=show)
            for limit in (1, 3, 100):
                found, after = list[int](), ""
                while True:
                    page = pair_scoring.page(dataset, wanted, session=session, limit=limit, after=after)
                    found += [one.pair.position for one in page.pairs]
                    if not (after := page.following):
                        break
                assert found == expected, (show, limit)
            assert scored_pairs.count(dataset, wanted, session=session) == len(expected)
            assert scored_pairs.positions(dataset, wanted, session=session) == sorted(expected)
            assert pair_scoring.counts(dataset, wanted, session=session)[show] == len(expected)
        one = scored_pairs.of_position(dataset, both.scorings, 2, session=session)
        assert one is not None
        assert [score.margin for score in one.scores if score is not None] == [None, -3.0]


def test_sides_search_and_one_model(engine: Engine) -> None:
    dataset = add_pairs(40, held_out=0.5)
    margins = [-2.0 if n % 2 else 1.0 for n in range(40)]
    wanted = Filter((add_scoring(dataset, margins),), Show.MISLABELLED)
    with read_session() as session:
        found = scored_pairs.page(dataset, wanted, session=session, limit=99)
        assert {one.pair.split for one in found} == {Split.TRAIN}, "it was trained on them"
        assert 0 < len(found) < 20
        wrong = replace(wanted, show=Show.WRONG)
        held_out = replace(wrong, split=Split.HELD_OUT)
        rest = scored_pairs.count(dataset, held_out, session=session)
        assert rest + len(found) == scored_pairs.count(dataset, wrong, session=session) == 20
        words = replace(wrong, search="good 3")
        named = [one.pair.position for one in scored_pairs.page(dataset, words, session=session, limit=99)]
        assert named == [3, *range(31, 40, 2)]


def test_what_is_asked_for_is_checked(engine: Engine) -> None:
    dataset, other = add_pairs(4), add_pairs(4, name="other")
    with (
        read_session() as session,
        pytest.raises(Refused, match=f"hypo datasets score {dataset} --run NUMBER"),
    ):
        pair_scoring.checked_filter(dataset, [], session=session)
    mine, theirs = add_scoring(dataset, [1.0] * 4), add_scoring(other, [1.0] * 4)
    with read_session() as session:
        assert pair_scoring.checked_filter(dataset, [], session=session).scorings == (mine,)
        with pytest.raises(InvalidInput, match=f"scoring {theirs} is not of dataset {dataset}"):
            pair_scoring.checked_filter(dataset, [theirs], session=session)
        with pytest.raises(InvalidInput, match="at most 2"):
            pair_scoring.checked_filter(dataset, [1, 2, 3], session=session)
        with pytest.raises(NotFound, match="no scoring 99"):
            pair_scoring.checked_filter(dataset, [99], session=session)
        with pytest.raises(InvalidInput, match="sort must be one of"):
            pair_scoring.checked_filter(dataset, [mine], session=session, show="best")
        with pytest.raises(InvalidInput, match="split must be one of"):
            pair_scoring.checked_filter(dataset, [mine], session=session, split="left")
        for cursor in ("x", "1_", "nan_1", "1e999999_2_3", "--1_2", "1" * 40 + "_1"):
            with pytest.raises(InvalidInput, match="cursor"):
                pair_scoring.page(dataset, Filter((mine,)), session=session, limit=1, after=cursor)


def test_a_run_that_is_not_over_scores_nothing(engine: Engine) -> None:
    dataset = add_pairs(4)
    finished = pair_scoring.start(dataset, add_run(dataset))
    assert pair_scoring.start(dataset, add_run(dataset)) != finished
    with pytest.raises(NotFound, match="no run 99"):
        pair_scoring.start(dataset, 99)
    with pytest.raises(NotFound, match="no dataset 99"):
        pair_scoring.start(99, 1)


def test_a_histogram_has_no_bin_with_both_signs(engine: Engine) -> None:
    dataset = add_pairs(10)
    both = Filter((add_scoring(dataset, FIRST), add_scoring(dataset, SECOND)))
    alone, nothing = add_scoring(dataset, [0.0] * 10), add_scoring(dataset, [None] * 10)
    with read_session() as session:
        found = pair_scoring.histogram(both, session=session)
        assert sum(pair_scoring.histogram(Filter((alone,)), session=session).counts[0]) == 10
        assert pair_scoring.histogram(Filter((nothing,)), session=session).edges == []
    assert 0.0 in found.edges
    negative = [low < 0 for low in found.edges[:-1]]
    assert [sum(row) for row in found.counts] == [9, 10]
    assert sum(n for n, below in zip(found.counts[0], negative, strict=True) if below) == 4


def test_a_histogram_of_rewards_counts_every_answer_once(engine: Engine) -> None:
    dataset = add_pairs(10)
    scoring, nothing = add_scoring(dataset, FIRST), add_scoring(dataset, [None] * 10)
    with write_session() as session:
        for score in session.scalars(select(PairScore).where(PairScore.scoring_id == scoring)):
            if score.chosen is not None:
                score.chosen, score.rejected = 0.25 * score.position, -0.5 * score.position
    with read_session() as session:
        found = pair_scoring.reward_histogram(scoring, session=session)
        assert pair_scoring.reward_histogram(nothing, session=session).edges == []
    assert [sum(row) for row in found.counts] == [9, 9]
    assert (found.edges[0] <= -4.5, found.edges[-1] > 2.25) == (True, True)
    below = [high <= 0 for high in found.edges[1:]]
    assert sum(n for n, negative in zip(found.counts[0], below, strict=True) if negative) == 0


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 10**9 - 1))
@settings(deadline=None)
def test_a_place_in_an_address_is_read_as_it_was_written(margin: float, position: int) -> None:
    place = Place(margin, position)
    assert pair_scoring.read_place(pair_scoring.write_place(place)) == place
