"""The interface between the training loop and its owner: events go out, wishes come in.

A reporter is any object with the methods of :class:`Reporter`. The engine calls it from the training
thread, between device operations. No torch here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

Message = Mapping[str, str]
"""A chat turn: ``{"role": "user" | "assistant" | "system", "content": text}``."""

Prompt = str | Sequence[Message]
"""Plain text to continue, or the turns of a conversation so far."""

SampleKind = Literal["online", "eval", "probe"]
LogLevel = Literal["info", "warning", "error"]


class Wish(StrEnum):
    """What the owner of a run wants it to do; asked between steps.

    CANCEL and YIELD write a checkpoint first. ABANDON means that another process has the run, so nothing
    is written or deleted.
    """

    CONTINUE = "continue"
    CANCEL = "cancel"
    YIELD = "yield"
    ABANDON = "abandon"


@dataclass(frozen=True, slots=True)
class Sample:
    """One response sampled by the policy.

    ``policy_logp`` and ``reference_logp`` are sums over the response's tokens, in nats; their difference
    is the response's contribution to the sampled reverse KL. ``finished`` is False for a response that was
    cut by the length limit and so has no end-of-sequence token. ``score`` is what the run's reward gives: of
    an online sample as the method maximises it, of an evaluation as the scorer returned it.
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
    score: float | None = None


class Reporter(Protocol):
    """Receives the events of one run."""

    def progress(self, step: int, total_steps: int, phase: str) -> None:
        """Report that ``step`` of ``total_steps`` optimiser steps are done, and the current phase."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Report named values measured at a step (names as in TRL)."""

    def samples(self, rows: Sequence[Sample]) -> None:
        """Report responses sampled by the policy."""

    def checkpoint(self, step: int, path: str) -> None:
        """Report a complete checkpoint folder."""

    def log(self, level: LogLevel, message: str) -> None:
        """Report a sentence for the run's log."""

    def wish(self) -> Wish:
        """Return whether to continue. Called at least once per step and around checkpoints; must be fast."""


class SilentReporter:
    """A reporter that ignores all events and always continues."""

    def progress(self, step: int, total_steps: int, phase: str) -> None: ...

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def samples(self, rows: Sequence[Sample]) -> None: ...

    def checkpoint(self, step: int, path: str) -> None: ...

    def log(self, level: LogLevel, message: str) -> None: ...

    def wish(self) -> Wish:
        return Wish.CONTINUE
