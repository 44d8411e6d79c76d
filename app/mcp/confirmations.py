"""Calls that wait for a person's consent.

They are kept in memory for ten minutes, and each can be used once. After a restart, or in another web
process, a call is simply made again.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.errors import Refused

LASTS_SECONDS: Final = 600.0
MOST_OF_A_USER: Final = 10
"""Beyond it, a user's oldest waiting call is dropped."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that waits for consent."""

    user: str
    tool: str
    arguments: Mapping[str, Any]
    ends_at: float


class Confirmations:
    """The waiting calls of one process, by id."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: OrderedDict[str, Waiting] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, user: str, tool: str, arguments: Mapping[str, Any]) -> str:
        """Keep a call and return its id."""
        made = secrets.token_urlsafe(16)
        with self._lock:
            self._drop_old(user)
            self._waiting[made] = Waiting(user, tool, arguments, self._clock() + LASTS_SECONDS)
        return made

    def take(self, confirmation_id: str, user: str) -> Waiting:
        """Take a call out, so that it runs at most once.

        Raises:
            Refused: there is no such call of this user, or its time is over.
        """
        with self._lock:
            found = self._waiting.get(confirmation_id)
            if found is None or found.user != user or found.ends_at < self._clock():
                raise Refused(
                    "This confirmation is not known, was used already, or is older than ten minutes; "
                    "call the tool again."
                )
            del self._waiting[confirmation_id]
        return found

    def _drop_old(self, user: str) -> None:
        now = self._clock()
        for key in [key for key, one in self._waiting.items() if one.ends_at < now]:
            del self._waiting[key]
        own = [key for key, one in self._waiting.items() if one.user == user]
        for key in own[: max(0, len(own) - MOST_OF_A_USER + 1)]:
            del self._waiting[key]
