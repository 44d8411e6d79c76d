"""A lease renewed in the background for as long as a block runs."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)


class LeaseHolder:
    """Renews a lease every quarter of its time; `lost` is set when somebody else has taken over.

    Args:
        renew: writes the new end of the lease; returns False when it is not ours any more.
        seconds: how long a lease holds.
    """

    def __init__(self, renew: Callable[[], bool], seconds: float) -> None:
        self.lost = threading.Event()
        self._renew = renew
        self._every = seconds / 4
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._done.wait(self._every):
            try:
                if not self._renew():
                    self.lost.set()
                    return
            except SQLAlchemyError as error:
                log.warning("The lease could not be renewed, trying again: %s", error)
