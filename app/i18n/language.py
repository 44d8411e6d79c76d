"""The language in which the present call answers: what its person chose, else what the browser asks for."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

DEFAULT: Final = "en"
LANGUAGES: Final = {DEFAULT: "English", "ru": "Русский"}
"""Codes of the languages, and how each calls itself."""

COOKIE: Final = "hypo-language"
"""Holds the language chosen by hand."""

LATER: Final = ""
"""In place of a language while pages are built: their texts are filled in for each person."""

_current: ContextVar[str] = ContextVar("language", default=DEFAULT)


def current() -> str:
    """The code of the present language; English outside a request."""
    return _current.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Answer in this language inside the block."""
    before = _current.set(language)
    try:
        yield
    finally:
        _current.reset(before)


def preferred(headers: Headers) -> str:
    """The language of a request: its cookie's, else the first of Accept-Language that we speak."""
    chosen = cookie_parser(headers.get("cookie", "")).get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    for wanted in _by_weight(headers.get("accept-language", "")):
        if wanted in LANGUAGES:
            return wanted
    return DEFAULT


def _by_weight(accepted: str) -> list[str]:
    """The main languages of an Accept-Language header, the most wanted first (RFC 9110, 12.5.4)."""
    weighed = []
    for part in accepted.split(","):
        tag, _, weight = part.partition(";q=")
        try:
            weighed.append((float(weight or 1), tag.strip().split("-")[0].lower()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(weighed, key=lambda one: -one[0]) if weight > 0]
