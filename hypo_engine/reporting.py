"""What the engine tells the world, and what the world may wish: the only way out of the training loop.

A reporter is any object with the methods of :class:`Reporter`. The engine calls it from the thread that
trains, between device operations, and never waits on anything else. No torch here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

Message = Mapping[str, str]
"""A chat turn: ``{"role": "user" | "assistant" | "system", "content": text}``."""

Prompt = str | Sequence[Message]
"""A plain text to continue, or the turns of a conversation so far."""

SampleKind = Literal["online", "eval", "probe"]
LogLevel = Literal["info", "warning", "error"]


class Wish(StrEnum):
    """What the owner of a run wants of it. Asked between steps.

    CANCEL and YIELD have a checkpoint written first; ABANDON, when somebody else has the run, lets go
    without writing or deleting one.
    """

    CONTINUE = "continue"
    CANCEL = "cancel"
    YIELD = "yield"
    ABANDON = "abandon"


@dataclass(frozen=True, slots=True)
class Sample:
    """One response the policy sampled.

    ``policy_logp`` and ``reference_logp`` are sums over the response's tokens, in nats; their
    difference is the response's contribution to the sampled reverse KL. ``finished`` is False for a
    response cut by the length limit, which has no end-of-sequence token to score.
    """

    kind: SampleKind
    step: int
    prompt: Prompt
    text: str
    seed: int
    tokens: int
    finished: bool
    policy_logp: float
    reference_logp: float


class Reporter(Protocol):
    """Receives the events of one run."""

    def progress(self, step: int, total_steps: int, phase: str) -> None:
        """Report that ``step`` of ``total_steps`` optimiser steps are done; ``phase`` is what it does now."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Report named values measured at a step (names as in TRL)."""

    def samples(self, rows: Sequence[Sample]) -> None:
        """Report responses the policy sampled."""

    def checkpoint(self, step: int, path: str) -> None:
        """Report a complete checkpoint folder."""

    def log(self, level: LogLevel, message: str) -> None:
        """Report a sentence for the run's log."""

    def wish(self) -> Wish:
        """Say whether to go on. Called at least once a step and around each checkpoint; must be quick."""


class SilentReporter:
    """A reporter that hears nothing and wants nothing."""

    def progress(self, step: int, total_steps: int, phase: str) -> None: ...

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def samples(self, rows: Sequence[Sample]) -> None: ...

    def checkpoint(self, step: int, path: str) -> None: ...

    def log(self, level: LogLevel, message: str) -> None: ...

    def wish(self) -> Wish:
        return Wish.CONTINUE
