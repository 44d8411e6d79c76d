"""Weights and margins of pairs: read in every layout, and refused with what to do."""

import math
from typing import Any

import pytest

from hypo_engine.data.formats import ColumnMapping, Kept, LeftOut, WinnerMapping, account_of, convert, detect

ASKED = [{"role": "user", "content": "What time is it?"}]
CHAT = {"chosen": [*ASKED, {"role": "assistant", "content": "Noon."}]}
CHAT["rejected"] = [*ASKED, {"role": "assistant", "content": "Blue."}]
TEXTS = {"prompt": "What time is it?", "chosen": "Noon.", "rejected": "Blue."}
ARENA = {
    "conversation_a": CHAT["chosen"],
    "conversation_b": CHAT["rejected"],
    "winner": "model_a",
}


def read(row: dict[str, Any], how: Any = None) -> Kept | LeftOut:
    (found,) = convert([(7, row)], how or detect([row]))
    return found


def labels(row: dict[str, Any], how: Any = None) -> tuple[float, float]:
    found = read(row, how)
    assert isinstance(found, Kept), found
    assert not {"weight", "margin"} & set(found.unused)
    return found.pair.weight, found.pair.margin


@pytest.mark.parametrize(
    "row",
    [
        TEXTS,
        CHAT,
        {"question": "What time is it?", "chosen": "Noon.", "rejected": "Blue."},
        {"instruction": "What time is it?", "input": "", "output": ["Noon.", "Blue."]},
        {"messages": CHAT["chosen"], "rejected_response": "Blue."},
        {"conversations": ASKED, "chosen": CHAT["chosen"][1], "rejected": CHAT["rejected"][1]},
    ],
)
def test_every_layout_with_pairs_has_them(row: dict[str, Any]) -> None:
    assert labels(row) == (1.0, 0.0)
    assert labels({**row, "weight": 3, "margin": 0.5}) == (3.0, 0.5)
    assert labels({**row, "Weight": "2.5", "margin": " "}) == (2.5, 0.0)
    assert labels({**row, "weight": None, "margin": math.nan}) == (1.0, 0.0)


@pytest.mark.parametrize(
    "value", [0, -1, "heavy", True, [1], math.inf, "1e999", pytest.param(10**400, id="huge")]
)
def test_a_weight_that_is_none_leaves_the_row_out_and_says_what_to_do(value: Any) -> None:
    found = read({**TEXTS, "weight": value})
    assert isinstance(found, LeftOut)
    assert (found.row, found.reason) == (
        7,
        "weight must be a number above 0; correct it, or give the column another name if it means "
        "something else",
    )


@pytest.mark.parametrize("value", [-0.1, "much", False, {}, -math.inf])
def test_so_does_a_margin(value: Any) -> None:
    found = read({**TEXTS, "margin": value})
    if value == {}:  # an empty object is no value
        assert isinstance(found, Kept)
    else:
        assert isinstance(found, LeftOut)
        assert found.reason.startswith("margin must be a number of 0 or more; correct it, or give")


def test_a_margin_beside_a_winner_may_be_the_first_answers_and_is_not_read() -> None:
    found = read({**ARENA, "weight": 2, "margin": -3})
    assert isinstance(found, Kept)
    assert (found.pair.weight, found.pair.margin, found.unused) == (2.0, 0.0, ("margin",))
    row = {"asked": "What time is it?", "one": "Noon.", "two": "Blue.", "weight": -4}
    by_sign = WinnerMapping("asked", "one", "two", "weight", ("<0",), (">0",))
    assert labels(row, by_sign) == (1.0, 0.0), "a column that the mapping reads is something else"
    row = {"asked": "What time is it?", "good": "Noon.", "bad": "Blue.", "weight": 4, "margin": 1}
    assert labels(row, ColumnMapping("asked", "good", "bad")) == (4.0, 1.0)


def test_a_file_says_how_many_pairs_have_them() -> None:
    rows = [(1, TEXTS), (2, {**TEXTS, "weight": 2}), (3, {**TEXTS, "weight": 4, "margin": 1})]
    found = account_of(convert(rows, detect([TEXTS])))  # type: ignore[arg-type]
    assert (found.weights.pairs, found.weights.mean, found.margins.pairs) == (2, 3.0, 1)
    assert found.sentences()[:2] == ["Weights: 2 pairs, 3 on average.", "Margins: 1 pair, 1 on average."]
