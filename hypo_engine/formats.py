"""Rows of any known preference format -> pairs, with a reason for each row left out. No torch here."""

from dataclasses import dataclass

from hypo_engine.reporting import Prompt


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference: two answers to the same prompt.

    ``prompt`` is plain text to continue, or the turns of a conversation that ends before the answer.
    """

    prompt: Prompt
    chosen: str
    rejected: str
