"""The keeper: a thread in every worker that sends heartbeats, reaps lost runs and resends lost messages.

Every worker does this, so no single process has to stay alive.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from app import dispatch
from app.settings import get_settings
from app.store import (
    answering,
    dataset_writing,
    endpoint_answers,
    pair_scorings,
    recovery,
    removal,
    run_dependencies,
    scorings,
    tallies,
    verdicts,
    workers,
)
from app.store.answering import ANSWER_LEASES, WAKE_UPS
from app.store.db import read_session, write_session
from app.store.endpoint_answers import ENDPOINT_LEASES, ENDPOINT_WAKE_UPS
from app.store.enums import JudgeKind
from app.store.leases import Leases
from app.store.pair_scorings import PAIR_LEASES
from app.store.run_transitions import RUN_LEASES
from app.store.scorings import SCORING_LEASES
from app.store.verdicts import VERDICT_LEASES, VERDICT_WAKE_UPS
from worker.consuming import consumption
from worker.device import Device
from worker.identity import hold_life, is_dead, sweep_lives
from worker.loading import LOADING
from worker.scratch import sweep
from worker.watch import LeaseWatch

BEAT_SECONDS = 5.0

log = logging.getLogger(__name__)

Held = Mapping[str, tuple[str | None, datetime]]
"""Lease id -> (worker that holds it, when it expires)."""


class Keeper(threading.Thread):
    """Sends a heartbeat and does maintenance every few seconds until stopped."""

    def __init__(self, worker_id: str, queues: str, device: Device) -> None:
        super().__init__(name="keeper", daemon=True)
        self._worker_id = worker_id
        self._queues = queues
        self._device = device
        self._maintenance = Maintenance()
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            hold_life()
            sweep_lives()
        except OSError as error:
            log.warning("The home folder takes no lock, so a death is noticed by the lease alone: %s", error)
        while True:
            self._try(self._beat)
            self._try(self._maintenance.run)
            if self._stopped.wait(BEAT_SECONDS):
                return

    def stop(self) -> None:
        """Stop the thread and remove the worker from the list."""
        self._stopped.set()
        self._try(self._leave)

    def _beat(self) -> None:
        with write_session() as session:
            workers.beat(
                self._worker_id,
                session=session,
                queues=self._queues,
                device=self._device.name,
                has_gpu=self._device.is_gpu,
                trouble=consumption.trouble(),
                loading=LOADING.model,
            )

    def _leave(self) -> None:
        with write_session() as session:
            workers.leave(self._worker_id, session=session)

    @staticmethod
    def _try(duty: Callable[[], None]) -> None:
        try:
            duty()
        except SQLAlchemyError as error:
            log.warning("The database did not take %s: %s", duty.__name__, error)


class Maintenance:
    """Work for the whole installation: reaps lost work, resends lost messages, purges removed rows."""

    def __init__(self) -> None:
        seconds = get_settings().lease_seconds
        self._watched = [(leases, reap, LeaseWatch(seconds, 3 * BEAT_SECONDS)) for leases, reap in _REAPED]

    def run(self) -> None:
        """Read the state, and write only if there is something to do."""
        with read_session() as session:
            held = [leases.all_held(session=session) for leases, _, _ in self._watched]
            stranded = run_dependencies.stranded(session=session)
            sweep(session=session)
        for (leases, reap, watch), now in zip(self._watched, held, strict=True):
            self._take_back(leases, reap, now, watch)
        for run_id, ending in stranded:
            with write_session() as session:
                run_dependencies.fail_dependants(run_id, ending, session=session)
        send_waiting()
        with write_session() as session:
            workers.forget_silent(session=session)
            tallies.count_waiting(session=session)
        with write_session() as session:
            removal.purge(session=session)
        with write_session() as session:
            dataset_writing.purge_abandoned(session=session)

    @staticmethod
    def _take_back(
        leases: Leases[Any], reap: Callable[[set[str]], None], held: Held, watch: LeaseWatch
    ) -> None:
        unrenewed = watch.unrenewed({lease: until for lease, (_, until) in held.items()})
        dead = {lease for lease, (worker, _) in held.items() if worker is not None and is_dead(worker)}
        if dead:
            with write_session() as session:
                leases.expire(dead, session=session)
        if unrenewed or dead:
            reap(unrenewed | dead)


def _reap_runs(leases: set[str]) -> None:
    with write_session() as session:
        lost = recovery.reap(leases, session=session, max_attempts=get_settings().max_attempts)
    if lost:
        log.warning("Requeued because their workers stopped responding: runs %s", lost)


def _reap_comparisons(leases: set[str]) -> None:
    with write_session() as session:
        answering.reap(leases, session=session)


def _reap_endpoint_answers(leases: set[str]) -> None:
    with write_session() as session:
        endpoint_answers.reap(leases, session=session)


def _reap_verdicts(leases: set[str]) -> None:
    with write_session() as session:
        verdicts.reap(leases, session=session)


def _reap_scorings(leases: set[str]) -> None:
    with write_session() as session:
        scorings.reap(leases, session=session)


def _reap_pair_scorings(leases: set[str]) -> None:
    with write_session() as session:
        pair_scorings.reap(leases, session=session)


_REAPED: Final[tuple[tuple[Leases[Any], Callable[[set[str]], None]], ...]] = (
    (RUN_LEASES, _reap_runs),
    (ANSWER_LEASES, _reap_comparisons),
    (ENDPOINT_LEASES, _reap_endpoint_answers),
    (VERDICT_LEASES, _reap_verdicts),
    (PAIR_LEASES, _reap_pair_scorings),
    (SCORING_LEASES, _reap_scorings),
)
"""What is taken back from dead workers, and how."""


def send_waiting() -> None:
    """Send the messages of waiting rows that were never sent, or not recently."""
    seconds = get_settings().resend_seconds
    with read_session() as session:
        trainers = len(workers.consuming(session=session, queue=dispatch.TRAIN_QUEUE))
        for_runs = recovery.resend_after(session=session, resend_seconds=seconds, train_workers=trainers)
        runs_wait = RUN_LEASES.is_undelivered(session=session, resend_seconds=for_runs)
        answers_wait = WAKE_UPS.is_undelivered(session=session, resend_seconds=seconds)
        requests_wait = ENDPOINT_WAKE_UPS.is_undelivered(session=session, resend_seconds=seconds)
        texts_wait = SCORING_LEASES.is_undelivered(session=session, resend_seconds=seconds)
        pairs_wait = PAIR_LEASES.is_undelivered(session=session, resend_seconds=seconds)
        kinds = [
            kind
            for kind, wake_ups in VERDICT_WAKE_UPS.items()
            if wake_ups.is_undelivered(session=session, resend_seconds=seconds)
        ]
    if runs_wait:
        _resend(RUN_LEASES, for_runs, dispatch.send_run)
    if answers_wait:
        _resend(WAKE_UPS, seconds, dispatch.send_comparison)
    if requests_wait:
        _resend(ENDPOINT_WAKE_UPS, seconds, dispatch.send_request)
    if texts_wait:
        _resend(SCORING_LEASES, seconds, dispatch.send_comparison)
    if pairs_wait:
        _resend(PAIR_LEASES, seconds, dispatch.send_comparison)
    for kind in kinds:
        of_endpoint = kind is JudgeKind.ENDPOINT
        send = dispatch.send_request if of_endpoint else dispatch.send_comparison
        _resend(VERDICT_WAKE_UPS[kind], seconds, send)


def _resend(leases: Leases[Any], seconds: float, send: Callable[[int], bool]) -> None:
    """Send until the broker fails; the rest is retried at the next heartbeat."""
    with write_session() as session:
        ids = leases.take_undelivered(session=session, resend_seconds=seconds)
    for place, row_id in enumerate(ids):
        if not send(row_id):
            with write_session() as session:
                leases.unsend(ids[place:], session=session)
            return
