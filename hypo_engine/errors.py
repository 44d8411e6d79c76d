"""Everything the engine raises on purpose. The message of each error says what to do next.

EngineError
├── ConfigError        the configuration cannot be run as written
├── ModelError         a base model or an adapter cannot be used
├── DataError          pairs or prompts cannot be used
├── CheckpointError    a checkpoint is damaged or belongs to another run
└── Interrupted        the reporter wished the run to stop; `wish` says how
"""

from hypo_engine.reporting import Wish


class EngineError(Exception):
    """Base of every error the engine raises on purpose."""


class ConfigError(EngineError):
    """The configuration cannot be run as written."""


class ModelError(EngineError):
    """A base model or an adapter cannot be used."""


class DataError(EngineError):
    """Pairs or prompts cannot be used."""


class CheckpointError(EngineError):
    """A checkpoint is damaged or belongs to another run."""


class Interrupted(EngineError):
    """The run stopped between two steps because its reporter wished so.

    Attributes:
        wish: ``Wish.CANCEL`` (do not resume), ``Wish.YIELD`` (the process is shutting down; resume
            elsewhere) or ``Wish.ABANDON`` (another process has the run; nothing was written).
    """

    def __init__(self, wish: Wish) -> None:
        super().__init__(f"The run stopped on request: {wish.value}.")
        self.wish = wish


def disk_full(remedy: str, *, disk: str = "The disk") -> str:
    """The sentence for a full disk, with a remedy."""
    return f"{disk} is full; {remedy}."


def memory_full(remedy: str, *, memory: str = "The memory") -> str:
    """The sentence for out of memory, with a remedy."""
    return f"{memory} is full; {remedy}."


def needs_bitsandbytes(what: str) -> str:
    """The sentence for a missing package, beginning with what needs it."""
    return f"{what} needs the package bitsandbytes; run pip install 'hypo-studio[qlora]'."


def needs_vllm() -> str:
    """The sentence for sampling with vLLM without it."""
    return "rollout vllm needs the package vllm; install it as docs/launch.md says, or set rollout to engine."
