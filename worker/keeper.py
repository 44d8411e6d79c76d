"""The keeper: a thread in every worker that says "alive", takes lost runs back and sends lost messages.

No extra service has this duty, so any process may be killed at any time.
"""

import logging
import os
import socket
import threading

import torch
from sqlalchemy.exc import SQLAlchemyError

from app import dispatch
from app.settings import get_settings
from app.store import conversations, recovery, removal, runs, tallies, workers
from app.store.db import write_session
from worker.scratch import sweep

BEAT_SECONDS = 5.0

log = logging.getLogger(__name__)


class Keeper(threading.Thread):
    """Beats every few seconds until stopped."""

    def __init__(self, worker_id: str, queues: str) -> None:
        super().__init__(name="keeper", daemon=True)
        self._worker_id = worker_id
        self._queues = queues
        self._stopped = threading.Event()

    def run(self) -> None:
        self._try(_release_runs_of_dead_neighbours)
        while True:
            self._try(self._beat)
            self._try(keep_house)
            if self._stopped.wait(BEAT_SECONDS):
                return

    def stop(self) -> None:
        """End the thread and take the worker off the list."""
        self._stopped.set()
        self._try(self._leave)

    def _beat(self) -> None:
        with write_session() as session:
            workers.beat(self._worker_id, session=session, queues=self._queues, device=device_name())

    def _leave(self) -> None:
        with write_session() as session:
            workers.leave(self._worker_id, session=session)

    @staticmethod
    def _try(duty: object) -> None:
        try:
            duty()  # type: ignore[operator]
        except SQLAlchemyError as error:
            log.warning("The database did not take %s: %s", getattr(duty, "__name__", duty), error)


def keep_house() -> None:
    """Reap lost runs and answers, and send again what no worker took."""
    settings = get_settings()
    with write_session() as session:
        lost = recovery.reap(session=session, max_attempts=settings.max_attempts)
        conversations.give_up_on_lost(session=session)
        workers.forget_silent(session=session)
        sweep(session=session)
        trainers = len(workers.present(session=session, queue=dispatch.TRAIN_QUEUE))
        waiting_runs = recovery.undelivered(
            session=session, resend_seconds=settings.resend_seconds, train_workers=trainers
        )
        waiting = conversations.undelivered(session=session, resend_seconds=settings.resend_seconds)
    if lost:
        log.warning("Back in the queue, for their workers fell silent: runs %s", lost)
    sent_runs = [run_id for run_id in waiting_runs if dispatch.send_run(run_id)]
    sent = [comparison_id for comparison_id in waiting if dispatch.send_comparison(comparison_id)]
    with write_session() as session:
        tallies.count_waiting(session=session)
    with write_session() as session:
        removal.purge(session=session)
    if sent_runs or sent:
        with write_session() as session:
            for run_id in sent_runs:
                runs.mark_sent(run_id, session=session)
            for comparison_id in sent:
                conversations.mark_sent(comparison_id, session=session)


def device_name() -> str:
    """What this worker computes on, for people."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return f"CPU, {torch.get_num_threads()} threads"


def _release_runs_of_dead_neighbours() -> None:
    """Expire at once the leases of processes of this machine that are gone, instead of waiting them out."""
    host = socket.gethostname()
    with write_session() as session:
        for name in recovery.workers_with_runs(session=session):
            machine, _, rest = name.partition(":")
            pid = rest.partition(":")[0]
            if machine == host and pid.isdigit() and not _alive(int(pid)):
                recovery.expire_leases_of(name, session=session)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
