"""Templates: values are escaped, missing values are errors, and template whitespace is not rendered."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from app import templates
from app.templates import render

EVIL = "<script>alert('x')</script> {{ 7 * 7 }}"
APP = Path(templates.__file__).parent


def test_a_value_is_shown_as_text() -> None:
    shown = render("widgets/facts.html", pairs=[(EVIL, EVIL)])
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 2
    assert shown.count("{{ 7 * 7 }}") == 2


def test_markup_stays_as_it_is() -> None:
    assert "<dd><b>x</b></dd>" in render("widgets/facts.html", pairs=[("a", Markup("<b>x</b>"))])


def test_a_name_without_a_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="pairs"):
        render("widgets/facts.html")


def test_line_breaks_between_tags_are_dropped_and_others_stay() -> None:
    shown = render("widgets/answer.html", text="a\n  b", note="")
    assert shown == '<div class="hy-answer"><div class="hy-text" translate="no">a\n  b</div></div>'
    source = "<p>a</p>\n  <p>one <code>x</code>\nmakes one.</p>"
    kept = "<p>a</p><p>one <code>x</code>\nmakes one.</p>"
    assert templates._environment.preprocess(source) == kept


@pytest.mark.parametrize(
    "path", sorted(path.relative_to(APP).as_posix() for path in APP.rglob("*.html")), ids=str
)
def test_every_template_compiles(path: str) -> None:
    assert templates._environment.get_template(path)
