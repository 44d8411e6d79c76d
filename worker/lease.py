"""Renewal of a lease in the background while a block runs."""

import logging
import threading
from types import TracebackType
from typing import Any, Self

from sqlalchemy.exc import SQLAlchemyError

from app.store.claims import Claim
from app.store.db import write_session
from app.store.leases import Leases

log = logging.getLogger(__name__)


class LeaseRenewer:
    """Renews a claim's lease every quarter of its duration; sets `lost` once the lease is no longer its own.

    Args:
        leases: the lease operations of the claimed row's table.
        claim: the claim of this worker.
        seconds: how long a lease lasts.
    """

    def __init__(self, leases: Leases[Any], claim: Claim, seconds: float) -> None:
        self.lost = threading.Event()
        self._leases = leases
        self._claim = claim
        self._seconds = seconds
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
        while not self._done.wait(self._seconds / 4):
            try:
                if not self._renew():
                    self.lost.set()
                    return
            except SQLAlchemyError as error:
                log.warning("The lease could not be renewed, trying again: %s", error)

    def _renew(self) -> bool:
        with write_session() as session:
            return self._leases.renew(self._claim, session=session, lease_seconds=self._seconds)
