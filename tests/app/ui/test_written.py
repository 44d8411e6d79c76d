"""What people and models wrote is marked, so that a browser that translates pages leaves it alone."""

import re
from pathlib import Path

import pytest

import app
from app.ui import widgets

SOURCES = [
    path
    for folder in [Path(app.__file__).parent / "ui"]
    for path in [*folder.rglob("*.html"), *folder.rglob("*.py")]
    if re.search(r"class=.hy-(text|asked|md)\b", path.read_text())
]
HOLDER = re.compile(r"""<div class=(["'])hy-(?:text|asked|md)(?![^>]*(?:aria-busy|hidden))[^>]*>""")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_a_holder_of_written_text_is_not_translated(source: Path) -> None:
    holders = [found.group() for found in HOLDER.finditer(source.read_text())]
    assert [holder for holder in holders if "translate=" not in holder] == []


def test_written_text_is_clipped_and_escaped() -> None:
    assert widgets.written("<b>" + "x" * 20, 10) == '<span translate="no">&lt;b&gt;xxxxxx…</span>'
