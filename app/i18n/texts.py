"""Texts in the present language.

While pages are built there is no person yet: a text is then a mark such as `~t12~`, and `filled_in` replaces
the marks of a page each time it is served.
"""

import json
import re
from collections.abc import Callable
from typing import Final

from markupsafe import Markup, escape

from app.i18n.catalogue import translations
from app.i18n.language import LATER, current, speaking

_MARK: Final = re.compile(rb"~([th])([0-9]+)~")
_later: list[Callable[[], str]] = []
"""The marked texts, by the number in their mark."""


def _(message: str, /, **values: object) -> str:
    """A text in the present language. `{name}` stands for a value, which is inserted as it is."""
    if isinstance(message, _Mark):
        return message
    if current() == LATER:
        return _Mark(_deferred(lambda: _(message, **values)))
    text = translations(current()).gettext(message) if message else ""
    return text.format(**values) if values else text


def _n(one: str, many: str, number: int, /, **values: object) -> str:
    """A text that depends on a number, which `{n}` stands for: `_n("{n} run", "{n} runs", 1000)`."""
    if current() == LATER:
        return _Mark(_deferred(lambda: _n(one, many, number, **values)))
    text = translations(current()).ngettext(one, many, number)
    return text.format(n=f"{number:,}", **values)


def _html(message: str, /, **values: object) -> Markup:
    """A text of ours that may contain tags; its values are escaped unless they are `Markup`."""
    if current() == LATER:
        return Markup(_deferred(lambda: _html(message, **values)))
    return Markup(translations(current()).gettext(message)).format(**values)


def N_(message: str, /) -> str:
    """Mark a constant as a text for the catalogues. Whoever shows it calls `_()` with it."""
    return message


class _Mark(str):
    """A mark in plain text; in HTML it becomes one whose text is escaped."""

    def __html__(self) -> str:
        return self.replace("~t", "~h", 1)


def _deferred(text: Callable[[], str]) -> str:
    _later.append(text)
    return f"~t{len(_later) - 1}~"


def filled_in(page: bytes, language: str) -> bytes:
    """A page's JSON with its marks replaced by texts, safe within `<script>` too."""

    def text(mark: re.Match[bytes]) -> bytes:
        number = int(mark[2])
        if number >= len(_later):
            return mark[0]
        made = _later[number]()
        return _in_json(str(escape(made)) if mark[1] == b"h" else made)

    with speaking(language):
        return _MARK.sub(text, page)


_UNSAFE: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"}


def _in_json(text: str) -> bytes:
    """A text within a JSON string, without its quotes."""
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    return re.sub("[<>&']", lambda found: _UNSAFE[found[0]], quoted).encode()
