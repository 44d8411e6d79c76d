"""The pool: the reference's own answers to every prompt, sampled once and kept in a file."""

import json
from dataclasses import dataclass
from pathlib import Path

from study.prompts import Question, held_out_share, is_held_out, some
from study.regimes import Sampled


def read_pool(path: Path) -> dict[str, list[Sampled]]:
    """The answers so far, by prompt. A line that was cut while it was written is passed over."""
    found: dict[str, list[Sampled]] = {}
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["prompt"]] = [Sampled(text, bool(end)) for text, end in row["answers"]]
    return found


@dataclass(frozen=True, slots=True)
class PoolSize:
    """How many prompts there are, how many of them are held out, and how many answers each other one has.

    Attributes:
        tokens: longest answer, without its end token.
    """

    prompts: int
    held_out: int
    answers: int
    tokens: int

    def answers_to(self, one: Question) -> int:
        """A held-out prompt needs one pair, for log-probabilities."""
        share = held_out_share(some(self.prompts), self.held_out)
        return 2 if is_held_out(one, share) else self.answers


def missing(path: Path, size: PoolSize) -> list[Question]:
    """The prompts that do not have all of their answers yet."""
    known = read_pool(path)
    return [one for one in some(size.prompts) if len(known.get(one.text, ())) < size.answers_to(one)]
