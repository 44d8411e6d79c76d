"""What this process loads at the moment, for the pages on which people wait for it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from app.store import workers
from app.store.db import write_session

log = logging.getLogger(__name__)


class Loading:
    """The base model that is being loaded; empty if none.

    A change is written to the worker's row at once. A write that fails is not repeated, because the next
    heartbeat corrects the row.
    """

    def __init__(self) -> None:
        self.model = ""

    @contextmanager
    def of(self, model: str, *, worker: str) -> Iterator[None]:
        """A scope in which the worker loads a model."""
        self._say(model, worker)
        try:
            yield
        finally:
            self._say("", worker)

    def _say(self, model: str, worker: str) -> None:
        self.model = model
        try:
            with write_session() as session:
                workers.say_loading(worker, model, session=session)
        except SQLAlchemyError as error:
            log.warning("The database did not take what %s loads: %s", worker, error)


LOADING = Loading()
"""What this process loads."""
