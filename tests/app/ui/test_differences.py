"""Differences of two texts: marked, escaped, and bounded."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ui import differences


@pytest.mark.parametrize(
    ("before", "after", "shown", "count"),
    [
        ("a b c", "a b c", "a b c", 0),
        ("a  b", "a\nb", "a<br>b", 0),
        ("a b c", "a x c", "a [-b-] [+x+] c", 1),
        ("", "<b>", "[+&lt;b&gt;+]", 3),
        ("soup with bread.", "Soup with bread: now", "[-soup-] [+Soup+] with bread[-.-] [+: now+]", 3),
    ],
)
def test_words_are_marked(before: str, after: str, shown: str, count: int) -> None:
    html = re.sub(r'<span class="hy-sr">[a-z]+: </span>', "", str(differences.marked(before, after)))
    html = re.sub("<(?=/?(ins|del))", "<", html)
    for tag, sign in (("ins", "+"), ("del", "-")):
        html = html.replace(f"<{tag}>", f"[{sign}").replace(f"</{tag}>", f"{sign}]")
    assert html == shown
    assert differences.count(before, after) == count


def test_long_texts_are_not_compared() -> None:
    assert differences.marked("a " * 2000, "b " * 2000) is None
    assert differences.count("a " * 2000, "b " * 2000) is None


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet="ab<&. \n_é", max_size=30), st.text(alphabet="ab<&. \n_é", max_size=30))
def test_the_later_text_can_be_read_from_it(before: str, after: str) -> None:
    html = str(differences.marked(before, after))
    kept = re.sub(r"<del>.*?</del>|<span.*?</span>|<br>|</?ins>|\s", "", html, flags=re.DOTALL)
    assert kept.replace("&lt;", "<").replace("&amp;", "&") == re.sub(r"\s", "", after)
