"""Aspects of a vote besides "better": their names, and what a vote says of each.

A vote stores for each aspect that was asked the best answer for it, a tie, or that the aspect does not apply.
An aspect that was not asked, such as one that was added after the vote, is not there.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from app.errors import InvalidInput
from app.store.enums import AspectChoice
from app.store.judging import LETTERS
from app.text import clean_name

MAX_ASPECTS: Final = 5
MAX_NAME_CHARS: Final = 30
USUAL: Final = ("helpful", "faithful", "harmless")

Said = int | AspectChoice
"""The side of the best answer, 0 for A; or a choice that names none."""

Stored = dict[str, int | str]
"""By aspect: the best answer's id, or the value of a choice that names none."""


def checked_names(names: Sequence[str]) -> list[str]:
    """Sanitize the names of a campaign's aspects for storage.

    Raises:
        InvalidInput: for too many, for a name that is too long, or for two that differ in case only.
    """
    found = [name for name in map(clean_name, names) if name]
    if len(found) > MAX_ASPECTS:
        raise InvalidInput(f"aspects has more than {MAX_ASPECTS} names; leave some out.", field="aspects")
    for name in found:
        if len(name) > MAX_NAME_CHARS:
            raise InvalidInput(
                f"aspects has a name with more than {MAX_NAME_CHARS} characters, {name!r}; shorten it.",
                field="aspects",
            )
        if sum(other.casefold() == name.casefold() for other in found) > 1:
            raise InvalidInput(f"aspects names {name!r} twice; give each one once.", field="aspects")
    return found


def checked(said: Mapping[str, Said], asked: Sequence[str], answer_ids: Sequence[int]) -> Stored:
    """Validate what a vote says of its aspects, and name the answers by id.

    Args:
        asked: the campaign's aspects; some may be missing.
        answer_ids: the answers in display order.

    Raises:
        InvalidInput: for an aspect that is not asked, or a side that is not there.
    """
    stored: Stored = {}
    for name, choice in said.items():
        if name not in asked:
            known = f"it asks for {', '.join(asked)}" if asked else "it asks for none"
            raise InvalidInput(f"{name!r} is no aspect of this campaign; {known}.", field="aspects")
        if isinstance(choice, AspectChoice):
            stored[name] = choice.value
        elif choice in range(len(answer_ids)):
            stored[name] = answer_ids[choice]
        else:
            letters = ", ".join(LETTERS[: len(answer_ids)])
            raise InvalidInput(f"For {name!r} name one of the answers {letters}.", field="aspects")
    return stored


def in_letters(stored: Mapping[str, int | str], shown: Sequence[int]) -> dict[str, str]:
    """What a vote says of its aspects in words: the best answer's letter, or the choice.

    Args:
        shown: the answers' ids in display order.
    """
    letters = dict(zip(shown, LETTERS, strict=False))
    return {
        name: str(value) if isinstance(value, str) else letters.get(value, "")
        for name, value in stored.items()
    }
