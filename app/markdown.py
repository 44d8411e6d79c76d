"""Markdown of models and people as HTML that is safe to show.

Raw HTML is text. Links lead to web and mail addresses only, and open in another tab. Images are not loaded:
their description and address are shown. Headings are paragraphs, so that a text cannot change the outline of
the page around it. Line breaks are kept.
"""

import re
from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup

MOST_CHARS: Final = 100_000
"""Longer texts are shown as they are."""

_LINK: Final = re.compile(r"(https?://|mailto:)[^\s]", re.IGNORECASE)


class _Renderer(RendererHTML):
    """The HTML of tokens, where it differs from the library's."""

    def image(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        token = tokens[idx]
        said = self.renderInlineAsText(token.children, options, env) or "image"
        address = token.attrGet("src")
        return str(Markup('<span class="hy-md-image">{} ({})</span>').format(said, address))

    def link_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        attributes = 'rel="noopener noreferrer nofollow" target="_blank"'
        return str(Markup('<a href="{}" ' + attributes + ">").format(tokens[idx].attrGet("href")))

    def heading_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        return f'<p class="hy-md-heading hy-md-{tokens[idx].tag}">'

    def heading_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        return "</p>\n"

    def table_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        return '<div class="hy-md-table" tabindex="0"><table>\n'

    def table_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        return "</table></div>\n"

    def fence(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        return self.code_block(tokens, idx, options, env)

    def code_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        # The element scrolls, so the keyboard must reach it.
        return str(Markup('<pre tabindex="0"><code>{}</code></pre>\n').format(tokens[idx].content))


class _Parser(MarkdownIt):
    """CommonMark with tables and strikethrough."""

    def __init__(self) -> None:
        options = {"html": False, "linkify": False, "breaks": True}
        super().__init__("commonmark", options, renderer_cls=_Renderer)
        self.enable(["table", "strikethrough"])

    def validateLink(self, url: str) -> bool:
        """Whether an address may be linked: http, https or mailto. Other links stay text."""
        return _LINK.match(url) is not None


_PARSER: Final = _Parser()


@lru_cache(maxsize=512)
def to_html(text: str) -> Markup:
    """Render Markdown as safe HTML."""
    plain = text.replace("\x00", "")
    if len(plain) > MOST_CHARS:
        return Markup('<div class="hy-md-plain">{}</div>').format(plain)
    return Markup(_PARSER.render(plain))
