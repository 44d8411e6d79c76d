"""A case of the benchmark, and how long one may take."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

PAGE: Final = 0.2
VOTE: Final = 0.05
ANY: Final = float("inf")
"""Seconds at the 95th percentile that a page or a call may take, a vote, and a whole file."""

USER: Final = "voter-1"


def nothing() -> None:
    """What most cases do before a call."""


@dataclass(frozen=True, slots=True)
class Case:
    """Something to call again and again, and how long it may take; `before` is called first, unmeasured."""

    name: str
    call: Callable[[], Any]
    limit: float = PAGE
    before: Callable[[], Any] = nothing
