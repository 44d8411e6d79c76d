"""Texts in the present language, plural forms, and pages whose texts are filled in when they are served."""

import json

import pytest
from markupsafe import Markup
from starlette.datastructures import Headers

from app.i18n import _, _html, _n, in_language
from app.i18n.language import LATER, preferred, speaking
from app.i18n.texts import filled_in
from app.templates import render


def test_a_text_is_english_unless_another_language_is_spoken() -> None:
    assert _("Loading…") == "Loading…"
    with speaking("ru"):
        assert _("Loading…") == "Загрузка…"
    assert _("Loading…") == "Loading…"


def test_values_keep_their_braces() -> None:
    with speaking("ru"):
        assert _("loads {model}", model="{odd}") == "загружает {odd}"


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1 запуск"), (3, "3 запуска"), (11, "11 запусков"), (1021, "1,021 запуск")]
)
def test_a_number_has_its_plural_form(number: int, text: str) -> None:
    with speaking("ru"):
        assert _n("{n} run", "{n} runs", number) == text


def test_html_keeps_its_tags_and_escapes_its_values() -> None:
    assert _html("<b>{name}</b>", name="<i>") == Markup("<b>&lt;i&gt;</b>")


def test_a_page_built_once_is_served_in_each_language() -> None:
    with speaking(LATER):
        label, counted = _("Loading…"), _n("{n} run", "{n} runs", 2)
        html = render("widgets/answer.html", text=_("Method"), note=_html("loads {model}", model="<m>"))
    page = json.dumps({"label": label, "about": f"{counted}!", "html": html}).encode()
    english, russian = (json.loads(filled_in(page, language)) for language in ("en", "ru"))
    assert (english["label"], english["about"]) == ("Loading…", "2 runs!")
    assert (russian["label"], russian["about"]) == ("Загрузка…", "2 запуска!")
    assert "Метод" in russian["html"]
    assert "загружает &lt;m&gt;" in russian["html"]


def test_a_mark_that_nobody_made_stays() -> None:
    assert filled_in(b'"~t999999999~"', "ru") == b'"~t999999999~"'


def test_a_text_cannot_end_the_script_that_holds_it() -> None:
    with speaking(LATER):
        page = json.dumps(_("</script>'&")).encode()
    assert b"</script>" not in filled_in(page, "en")
    assert json.loads(filled_in(page, "en")) == "</script>'&"


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "en"),
        ({"accept-language": "ru-RU,ru;q=0.9,en;q=0.8"}, "ru"),
        ({"accept-language": "de,en;q=0.5,ru;q=0.7"}, "ru"),
        ({"accept-language": "ru;q=0,en"}, "en"),
        ({"accept-language": "ru;q=nonsense,*"}, "en"),
        ({"accept-language": "ru", "cookie": "hypo-language=en"}, "en"),
        ({"accept-language": "en", "cookie": "a=b; hypo-language=ru"}, "ru"),
        ({"cookie": "hypo-language=../../x"}, "en"),
    ],
)
def test_a_request_has_the_language_chosen_by_hand_or_by_the_browser(
    headers: dict[str, str], language: str
) -> None:
    assert preferred(Headers(headers)) == language


def test_what_is_not_ours_is_not_translated() -> None:
    with speaking("ru"):
        assert in_language("An answer of a model.") == "An answer of a model."
        assert in_language("") == ""
