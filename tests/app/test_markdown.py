"""Markdown as HTML: nothing of a text becomes markup that acts, and nothing is loaded."""

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.markdown import MOST_CHARS, to_html

TAGS = {
    "p",
    "br",
    "hr",
    "em",
    "strong",
    "s",
    "code",
    "pre",
    "blockquote",
    "ul",
    "ol",
    "li",
    "a",
    "span",
    "div",
}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {
    "a": {"href", "rel", "target"},
    "p": {"class"},
    "span": {"class"},
    "div": {"class", "tabindex"},
    "pre": {"tabindex"},
    "ol": {"start"},
    "th": {"style"},
    "td": {"style"},
}
CLASSES = {
    "hy-md-image",
    "hy-md-heading",
    "hy-md-table",
    "hy-md-plain",
    *(f"hy-md-h{n}" for n in range(1, 7)),
}
ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](java\nscript:alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](\x01javascript:alert(1))",
    "[a](<javascript:alert(1)>)",
    "[a](data:text/html,<script>alert(1)</script>)",
    "[a](vbscript:x)",
    "[a](file:///etc/passwd)",
    "[a](//evil.example)",
    "[a](/logout)",
    "[a][r]\n\n[r]: javascript:alert(1)",
    '[a](https://a.b "x" onmouseover="alert(1)")',
    '[a](https://a.b/"onmouseover="alert(1))',
    '![a" onerror="alert(1)](https://a.b/x.png)',
    "![a](https://a.b/x.png)",
    "<javascript:alert(1)>",
    '```js" onload="alert(1)\nx\n```',
    "```</code></pre><script>alert(1)</script>\n```",
    "| a |\n|---|\n| <b onclick=x>y</b> |",
    '# a" onclick="x',
    "<style>*{display:none}</style>",
    "<base href=https://evil.example>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<a href=x>",
    "&lt;script&gt;",
]


class _Reader(HTMLParser):
    """Checks that a page has only known elements, balanced, with known attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(str(html))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        values = dict(attrs)
        assert values.keys() <= ATTRIBUTES.get(tag, set()), (tag, attrs)
        assert set((values.get("class") or "").split()) <= CLASSES
        assert values.get("style") in (None, "text-align:left", "text-align:right", "text-align:center")
        if tag == "a":
            assert str(values["href"]).lower().startswith(("http://", "https://", "mailto:"))
            assert (values["rel"], values["target"]) == ("noopener noreferrer nofollow", "_blank")
        if tag not in ("br", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("br", "hr"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl


@pytest.mark.parametrize("text", ATTACKS)
def test_an_attack_is_text(text: str) -> None:
    _Reader(to_html(text))


def pieces() -> Any:
    """Texts made of what has a meaning in Markdown or HTML, in any order."""
    special = st.sampled_from(
        [*ATTACKS, *"*_`~[]()<>!#|-+:\"'&\\\n\t ", "```", "](", "[x]: ", "http://a.b", "\n\n", "    ", "1. "]
    )
    return st.lists(special | st.text(max_size=5), max_size=40).map("".join)


@given(pieces())
def test_any_text_becomes_only_known_elements(text: str) -> None:
    _Reader(to_html(text))


def test_ordinary_markdown_is_formatted() -> None:
    html = to_html(
        "# Title\n\nA **bold** [link](https://a.example/?a=1&b=2).\n\n- one\n- two\n\n|a|b|\n|-|-|\n|1|2|"
    )
    assert '<p class="hy-md-heading hy-md-h1">Title</p>' in html
    assert "<strong>bold</strong>" in html
    assert '<a href="https://a.example/?a=1&amp;b=2" rel=' in html
    assert "<li>one</li>" in html
    assert "<td>1</td>" in html


def test_code_is_kept_as_it_is() -> None:
    code = "def f(x):\n\n    return x < 1 and '**' or \"&amp;\"\n"
    assert _Reader(to_html(f"```python\n{code}```")).text == code + "\n"


def test_line_breaks_are_kept() -> None:
    assert "one<br />\ntwo" in to_html("one\ntwo")


def test_an_image_is_its_description_and_address() -> None:
    html = to_html("![a *cat*](https://a.example/cat.png)")
    assert _Reader(html).text.strip() == "a cat (https://a.example/cat.png)"


def test_a_text_of_extreme_length_is_shown_as_it_is() -> None:
    assert to_html("*a* " * MOST_CHARS).startswith('<div class="hy-md-plain">*a* *a*')


@pytest.mark.parametrize("piece", ["[", "*a ", ">", "[a](b", "![", "`", "<a", "**x", "- ", "|a"])
def test_no_repetition_takes_long(piece: str) -> None:
    _Reader(to_html(piece * (20_000 // len(piece))))
