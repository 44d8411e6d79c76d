"""A case of the benchmark, and the time limits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

PAGE: Final = 0.2
VOTE: Final = 0.05
ANY: Final = float("inf")
"""Limits of the 95th percentile in seconds: of a page or call, of a vote, and none for a whole file."""

USER: Final = "voter-1"


def nothing() -> None:
    """No-op, the preparation of most cases."""


@dataclass(frozen=True, slots=True)
class Case:
    """A call to repeat, with its time limit. `before` runs before each call and is not measured."""

    name: str
    call: Callable[[], Any]
    limit: float = PAGE
    before: Callable[[], Any] = nothing
