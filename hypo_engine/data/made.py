"""Pairs and single answers, made of checked parts. No torch here."""

from hypo_engine.data.pair import Pair, Turn
from hypo_engine.data.rows import RowError, checked_prompt, text
from hypo_engine.reporting import Prompt


def make_pair(prompt: Prompt | list[Turn], chosen: object, rejected: object) -> Pair:
    """Make a pair of checked parts.

    Raises:
        RowError: the message says what is wrong with the row.
    """
    good, bad = text(chosen, "chosen"), text(rejected, "rejected")
    if good.strip() == bad.strip():
        raise RowError("chosen equals rejected")
    return Pair(_checked(prompt), good, bad)


def make_single(prompt: Prompt | list[Turn], answer: object, *, good: bool) -> Pair:
    """Make a row with one answer of checked parts.

    Raises:
        RowError: the message says what is wrong with the row.
    """
    said = text(answer, "the answer")
    return Pair(_checked(prompt), said if good else "", "" if good else said)


def checked_pair(pair: Pair) -> Pair:
    """The pair or the single answer, checked; without weight and margin.

    Raises:
        RowError: the message says what is wrong with it.
    """
    if pair.is_single and pair.answers:
        return make_single(pair.prompt, pair.answers[0], good=bool(pair.chosen))
    return make_pair(pair.prompt, pair.chosen, pair.rejected)


def _checked(prompt: Prompt | list[Turn]) -> Prompt:
    return checked_prompt(prompt if isinstance(prompt, str) else [dict(turn) for turn in prompt])
