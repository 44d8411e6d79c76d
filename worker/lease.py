"""Renewal of a lease in the background while a block runs."""

import logging
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from sqlalchemy.exc import SQLAlchemyError

from app.store.claims import Claim
from app.store.db import write_session
from app.store.leases import Leases

log = logging.getLogger(__name__)


class LeaseRenewer:
    """Renews a lease every quarter of its duration; sets `lost` once one of its rows is no longer claimed.

    Args:
        leases: the lease operations of the claimed rows' table.
        claims: the claims of this worker, all of one lease.
        seconds: how long a lease lasts.
    """

    def __init__(self, leases: Leases[Any], claims: Sequence[Claim], seconds: float) -> None:
        self.lost = threading.Event()
        self._leases = leases
        self._claims = claims
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
            return self._leases.renew(*self._claims, session=session, lease_seconds=self._seconds)
