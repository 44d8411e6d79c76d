"""The place where answers part."""

import pytest

from app.ui import parting


@pytest.mark.parametrize(
    ("texts", "shared"),
    [
        (["Paris is big.", "Paris is old."], 9),
        (["a", "b"], 0),
        (["same", "same"], None),
        (["alone"], None),
        ([], None),
        (["Paris", "Paris, France"], 5),
        (["cafe\u0301", "cafe"], 3),  # the accent stays with its letter
        (["x\u200dy", "x"], 0),
        (["one two", "one to", "one three"], 5),
    ],
)
def test_the_shared_beginning(texts: list[str], shared: int | None) -> None:
    assert parting.shared_beginning(texts) == shared


def test_the_word_where_they_part_is_marked_and_escaped() -> None:
    shown = str(parting.marked("a <b> big\nend", 6))
    assert shown == ('<span class="hy-common">a &lt;b&gt; </span><mark class="hy-parted">big</mark><br>end')
    assert str(parting.marked("so", 2)).endswith('<mark class="hy-parted"></mark>')
    assert str(parting.marked("<so>", None)) == "&lt;so&gt;"
