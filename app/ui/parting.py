"""The place where answers to one prompt part. A button shows or hides the marks; `page.js` handles it."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from app.i18n import _
from app.ui import widgets
from app.ui.widgets import Html

_JOINERS: Final = {"\u200d", "\ufe0e", "\ufe0f"}
"""Characters that belong to the one before them, beside combining marks."""


def toggle() -> Html:
    """The button that shows and hides the marks."""
    button = '<button type="button" class="hy-button" data-hy-parting aria-pressed="false">{}</button>'
    return Markup(button).format(_("Mark where the answers part"))


def shared_beginning(texts: Sequence[str]) -> int | None:
    """The number of characters with which all texts begin; None if nothing parts them.

    No character is separated from its combining marks.
    """
    if len(set(texts)) < 2:
        return None
    first, last = min(texts), max(texts)  # all others begin as these two do
    together = zip(first, last, strict=False)
    count = next((at for at, (one, other) in enumerate(together) if one != other), len(first))
    while count and any(_continues(text[count : count + 1]) for text in texts):
        count -= 1
    return count


def _continues(character: str) -> bool:
    return bool(character) and (unicodedata.combining(character) > 0 or character in _JOINERS)


def marked(text: str, shared: int | None) -> Html:
    """A text with its shared beginning and the word where it parts from the others, for the style sheet."""
    if shared is None:
        return widgets.escape(text)
    found = re.compile(r"\s*\S+|\s+").match(text, shared)
    end = found.end() if found else shared
    return Markup('<span class="hy-common">{}</span><mark class="hy-parted">{}</mark>{}').format(
        widgets.escape(text[:shared]), widgets.escape(text[shared:end]), widgets.escape(text[end:])
    )
