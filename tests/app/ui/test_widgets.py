"""Shared pieces: escaped text and readable numbers."""

from datetime import timedelta

import pytest
from markupsafe import Markup

from app.store.enums import RunStatus
from app.store.models import utcnow
from app.ui import formatting, query, widgets
from tests.app.ui.conftest import request_for

EVIL = "<script>alert('x')</script>\n**bold** & `code`"


def test_text_is_escaped_and_keeps_its_lines() -> None:
    shown = widgets.escape(EVIL)
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "<br>**bold** &amp; `code`" in shown


@pytest.mark.parametrize(
    "prompt", [EVIL, [{"role": "user", "content": EVIL}], [{"role": EVIL, "content": EVIL}], [EVIL]]
)
def test_prompts_of_every_shape_are_shown_as_text(prompt: object) -> None:
    assert "<script" not in widgets.messages(prompt)
    assert "<script" not in widgets.prompt_line(prompt) or not isinstance(widgets.prompt_line(prompt), Markup)


def test_every_piece_escapes_what_it_is_given() -> None:
    pieces = [
        widgets.page_header(EVIL, EVIL),
        widgets.section(EVIL, Markup("<p></p>"), EVIL),
        widgets.empty_state(EVIL, EVIL, widgets.link_button(EVIL, "runs", name=EVIL)),
        widgets.notice(EVIL),
        widgets.error_banner(EVIL, EVIL),
        widgets.field_error(EVIL),
        widgets.progress_bar(1, 2, phase=EVIL),
        widgets.table([EVIL], [[EVIL]], caption=EVIL),
        widgets.facts({EVIL: EVIL}),
        widgets.code(EVIL, EVIL),
        widgets.answer(EVIL, note=EVIL),
        widgets.method_badge(EVIL),
        widgets.status_badge(EVIL),
    ]
    assert all("<script" not in piece for piece in pieces)


@pytest.mark.parametrize(
    ("sentence", "html"),
    [
        ("Run `hypo up`, or `make up`.", "Run <code>hypo up</code>, or <code>make up</code>."),
        ("One ` alone", "One ` alone"),
        ("`<b>`\n<i>", "<code>&lt;b&gt;</code><br>&lt;i&gt;"),
    ],
)
def test_what_stands_in_backticks_is_code(sentence: str, html: str) -> None:
    assert widgets.with_commands(sentence) == html
    assert f"<p>{html}</p>" in widgets.error_banner(sentence)
    assert html in widgets.field_error(sentence)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (4.21, "4.2 s"),
        (59.6, "1 min 00 s"),
        (190, "3 min 10 s"),
        (7500, "2 h 05 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert formatting.duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0.000"),
        (0.6931, "0.693"),
        (1.2e-5, "1.2e-05"),
        (-104.26, "-104.3"),
    ],
)
def test_numbers(value: float | None, words: str) -> None:
    assert formatting.number(value) == words


def test_ago_names_the_exact_time() -> None:
    now = utcnow()
    assert "5 min ago" in formatting.ago(now - timedelta(minutes=5), now=now)
    assert now.strftime("%Y-%m-%d") in formatting.ago(now, now=now)


def test_addresses_leave_out_what_is_not_given() -> None:
    assert widgets.url("run", id=3) == "run?id=3"
    assert widgets.url("runs", name="", method=None) == "runs"
    assert widgets.url("home") == "./"


def test_a_state_has_a_word_besides_its_colour() -> None:
    for status in RunStatus:
        assert status.value in widgets.status_badge(status)


def test_ids_of_an_address_are_bounded() -> None:
    request = request_for(id=f"3, 0,-1 x,{'9' * 30},{2**31},{2**31 - 1}")
    assert query.ids(request, "id") == [3, 2**31 - 1]
    assert query.ids(request, "other") == []


def test_a_column_without_a_title_has_a_name_for_screen_readers() -> None:
    shown = widgets.table(["Name", ""], [["a", "b"]])
    assert '<span class="hy-sr">Actions</span></th>' in shown
    assert 'class=""></th>' not in shown
