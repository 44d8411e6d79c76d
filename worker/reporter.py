"""Engine events -> store, wishes -> engine."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app import artifacts
from app.store import generations, metrics, runs
from app.store.db import read_session, write_session
from app.store.enums import EventLevel, GenerationKind, RunWish
from hypo_engine.reporting import LogLevel, Sample, Wish
from worker.going import going_away

WISH_SECONDS = 0.5
"""How long an answer to "go on?" is believed before the row is read again."""

log = logging.getLogger(__name__)


class StoreReporter:
    """Writes the events of one claimed run; every write of state is guarded by the lease.

    Args:
        lost: set when the lease is gone.
        keep_all: whether a checkpoint leaves the earlier ones of the run in place; else it and the one
            before it are kept, in case one is damaged.
    """

    def __init__(self, run_id: int, lease_id: str, lost: threading.Event, *, keep_all: bool = True) -> None:
        self._run_id = run_id
        self._lease_id = lease_id
        self._lost = lost
        self._keep_all = keep_all
        self._asked_at = 0.0
        self._wish = Wish.CONTINUE
        self._sampled: set[tuple[GenerationKind, int]] = set()

    def progress(self, step: int, total_steps: int, phase: str) -> None:
        def write(session: Session) -> None:
            held = runs.set_progress(
                self._run_id, self._lease_id, session=session, step=step, total_steps=total_steps, phase=phase
            )
            if not held:
                self._lost.set()

        patiently(write)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        self._write(lambda session: metrics.record(self._run_id, session=session, step=step, values=finite))

    def samples(self, rows: Sequence[Sample]) -> None:
        def write(session: Session) -> None:
            for kind, step in sorted(new):
                generations.forget_samples(self._run_id, session=session, kind=kind, step=step)
            generations.record_samples(self._run_id, map(_to_store, rows), session=session)

        new = {(GenerationKind(row.kind), row.step) for row in rows} - self._sampled
        self._write(write)
        self._sampled |= new

    def checkpoint(self, step: int, path: str) -> None:
        if self._lost.is_set():
            return
        folder = Path(path)
        key = f"runs/{self._run_id}/{folder.name}"
        artifacts.save_folder(folder, key)
        self._write(lambda session: runs.add_checkpoint(self._run_id, session=session, step=step, path=key))
        self._forget_all_but(2)

    def finished(self) -> None:
        """The run goes on no more: its last checkpoint is enough."""
        self._forget_all_but(1)

    def _forget_all_but(self, count: int) -> None:
        """Forget the earlier checkpoints, unless all are wanted."""
        earlier: list[str] = []

        def write(session: Session) -> None:
            kept = runs.checkpoints(self._run_id, session=session)[-count:]
            if kept and not self._keep_all:
                step = kept[0].step
                earlier[:] = runs.forget_checkpoints_before(self._run_id, session=session, step=step)

        self._write(write)
        for key in earlier:
            artifacts.delete_folder(key)

    def log(self, level: LogLevel, message: str) -> None:
        self._write(
            lambda session: runs.add_event(
                session=session, run_id=self._run_id, level=EventLevel(level), message=message
            )
        )

    def wish(self) -> Wish:
        if self._lost.is_set():
            return Wish.ABANDON
        if going_away.is_set():
            return Wish.YIELD
        if time.monotonic() - self._asked_at >= WISH_SECONDS:
            self._wish = self._read_wish()
            self._asked_at = time.monotonic()
        return self._wish

    def _read_wish(self) -> Wish:
        try:
            with read_session() as session:
                wish = runs.read_wish(self._run_id, self._lease_id, session=session)
        except OperationalError as error:
            log.warning("The wish of run %s could not be read: %s", self._run_id, error)
            return self._wish
        if wish is None:
            self._lost.set()
            return Wish.ABANDON
        return Wish.CONTINUE if wish is RunWish.NONE else Wish.CANCEL

    def _write(self, write: Callable[[Session], None]) -> None:
        if not self._lost.is_set():
            patiently(write)


def patiently(write: Callable[[Session], None], *, tries: int = 6) -> None:
    """Do one transaction, again after a pause when the database is away for a moment.

    Raises:
        OperationalError: when it is still away after about half a minute.
    """
    for attempt in range(tries):
        try:
            with write_session() as session:
                write(session)
            return
        except OperationalError:
            if attempt + 1 == tries:
                raise
            time.sleep(2**attempt / 2)


def _to_store(sample: Sample) -> generations.TrainingSample:
    prompt = sample.prompt if isinstance(sample.prompt, str) else [dict(turn) for turn in sample.prompt]
    return generations.TrainingSample(
        kind=GenerationKind(sample.kind),
        step=sample.step,
        prompt=prompt,
        text=sample.text.replace("\x00", "\ufffd"),
        seed=sample.seed,
        tokens=sample.tokens,
        complete=sample.finished,
        policy_logp=sample.policy_logp,
        reference_logp=sample.reference_logp,
    )
