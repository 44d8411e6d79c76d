"""A preference pair, or a single judged answer, and the identity of its prompt. No torch here."""

import hashlib
import json
from dataclasses import dataclass

from hypo_engine.reporting import Prompt

Turn = dict[str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference: two answers to the same prompt, or one answer that was judged good or bad by itself.

    A good answer alone is ``chosen``, a bad one alone ``rejected``; the other side is then empty.
    ``prompt`` is plain text to continue, or the turns of a conversation up to the answer. ``weight`` is how
    much the pair counts, ``margin`` how much better the chosen answer is; a pair without has 1 and 0.
    """

    prompt: Prompt
    chosen: str
    rejected: str
    weight: float = 1.0
    margin: float = 0.0

    @property
    def is_single(self) -> bool:
        """Whether the row has one answer."""
        return not (self.chosen and self.rejected)

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers that the row has, the chosen one first."""
        return tuple(answer for answer in (self.chosen, self.rejected) if answer)

    @property
    def extras(self) -> tuple[float, ...]:
        """Weight and margin; empty for a pair without, so that a digest of it does not change."""
        return () if (self.weight, self.margin) == (1.0, 0.0) else (self.weight, self.margin)


def prompt_key(prompt: Prompt) -> str:
    """SHA-256 of a prompt's text in hex; prompts with equal keys fall on the same side of a split.

    A plain prompt and the same text as a user's only turn have equal keys; surrounding white space is
    ignored.
    """
    if not isinstance(prompt, str):
        turns = [[turn["role"], turn["content"].strip()] for turn in prompt]
        only_user = len(turns) == 1 and turns[0][0] == "user"
        prompt = turns[0][1] if only_user else json.dumps(turns, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(prompt.strip().encode()).hexdigest()


def prompt_fraction(prompt: Prompt) -> float:
    """A number in [0, 1) that depends on the prompt alone; pairs below the held-out share are held out."""
    return int(prompt_key(prompt)[:12], 16) / 2**48
