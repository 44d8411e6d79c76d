"""A preference pair, and which prompts count as one. No torch here."""

import hashlib
import json
from dataclasses import dataclass

from hypo_engine.reporting import Prompt

Turn = dict[str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference: two answers to the same prompt.

    ``prompt`` is plain text to continue, or the turns of a conversation that ends before the answer.
    """

    prompt: Prompt
    chosen: str
    rejected: str


def prompt_key(prompt: Prompt) -> str:
    """SHA-256, in hex, of what a prompt says: the same for prompts that no split may part.

    A plain prompt and the same text as a user's only turn are one prompt, white space around it aside.
    """
    if not isinstance(prompt, str):
        turns = [[turn["role"], turn["content"].strip()] for turn in prompt]
        only_user = len(turns) == 1 and turns[0][0] == "user"
        prompt = turns[0][1] if only_user else json.dumps(turns, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(prompt.strip().encode()).hexdigest()


def prompt_fraction(prompt: Prompt) -> float:
    """A number in [0, 1) that depends on the prompt alone: below the held-out share, a pair is held out."""
    return int(prompt_key(prompt)[:12], 16) / 2**48
