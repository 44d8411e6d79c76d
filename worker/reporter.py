"""The worker's Reporter: engine events go to the store, and the store's wishes go to the engine."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import artifacts
from app.errors import AppError
from app.settings import get_settings
from app.store import (
    generations,
    metrics,
    numbered_writes,
    retention,
    run_checkpoints,
    run_events,
    run_judges,
    run_transitions,
)
from app.store.claims import Claim
from app.store.db import read_session
from app.store.enums import EventLevel, GenerationKind, RunWish
from app.store.run_transitions import RUN_LEASES
from hypo_engine.errors import Interrupted
from hypo_engine.reporting import LogLevel, Sample, Wish
from hypo_engine.training.checkpoint import RESUME_FILES, checkpoints, remove_checkpoint
from worker.retry import retry, retry_read, retry_write, unavailable_service
from worker.shutdown import shutting_down

WISH_SECONDS = 0.5
"""How long a wish is cached before the row is read again."""

UNWANTED_SECONDS = 5.0
"""How long a run that should end waits for an unavailable artifacts' store before it gives up its checkpoint.
"""

TOLD_SECONDS = 3.0
"""Shorter outages are not logged."""

THINNED_EVERY = 10
"""Steps between two deletions of old online samples."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """How many of its last checkpoints a run keeps while it trains, and when it has ended; None is all.

    One that trains keeps at least two, in case one is damaged. `best` is the metric whose best checkpoint is
    kept besides.
    """

    training: int | None
    ended: int | None
    best: str | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Kept":
        """What a run's stored configuration asks for; one of an earlier version may lack a field."""
        best = run_checkpoints.best_metric(config)
        if not config.get("save_steps"):
            return LAST_TWO._replace(best=best) if best else LAST_TWO
        limit = config.get("save_total_limit") or None
        return cls(limit and max(2, limit), limit, best)


KEEP_ALL: Final = Kept(None, None)
LAST_TWO: Final = Kept(2, 1)


class StoreReporter:
    """Writes the events of one claimed run; the lease guards every write.

    Args:
        lost: set once the lease is lost.
        keep: while the run trains, and when it has ended, keep so many of its last checkpoints; None is all.
    """

    def __init__(self, claim: Claim, lost: threading.Event, *, keep: Kept = KEEP_ALL) -> None:
        self._claim = claim
        self._lost = lost
        self._keep = keep
        self._asked_at = 0.0
        self._wish = Wish.CONTINUE
        self._sampled: set[tuple[GenerationKind, int]] = set()
        self._database_away_since: float | None = None
        self._store_away_since: float | None = None
        self._writing = threading.RLock()
        self._last_write = 0

    def progress(self, step: int, total_steps: int, phase: str) -> None:
        self._write(
            lambda session: run_transitions.set_progress(
                self._claim, session=session, step=step, total_steps=total_steps, phase=phase
            )
        )

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        self._write(lambda session: metrics.record(self._claim.id, session=session, step=step, values=finite))

    def samples(self, rows: Sequence[Sample]) -> None:
        def write(session: Session) -> None:
            for kind, step in sorted(new):
                generations.forget_samples(self._claim.id, session=session, kind=kind, step=step)
            generations.record_samples(self._claim.id, map(_to_store, rows), session=session)
            for step in {row.step for row in rows if row.kind == GenerationKind.EVAL.value}:
                run_judges.queue_step(self._claim.id, step, session=session)

        new = {(GenerationKind(row.kind), row.step) for row in rows} - self._sampled
        self._write(write)
        self._sampled |= new
        self._thin_samples({step for kind, step in new if kind is GenerationKind.ONLINE})

    def _thin_samples(self, steps: Set[int]) -> None:
        """Delete online samples of older steps, every few steps."""
        kept = get_settings().online_sample_steps
        for step in steps:
            if step % THINNED_EVERY == 0:
                self._write(
                    lambda session, step=step: retention.thin_online_samples(  # type: ignore[misc]
                        self._claim.id, session=session, newest=step, kept=kept
                    )
                )

    def checkpoint(self, step: int, path: str) -> None:
        if self._lost.is_set():
            return
        folder = Path(path)
        key = f"runs/{self._claim.id}/{folder.name}"
        try:
            size = self._with_store(lambda: artifacts.save_folder(folder, key))
        except _NotNow as reason:
            self.log("warning", f"The checkpoint of step {step} was not stored: {reason}")
            return
        self._write(
            lambda session: run_checkpoints.add(
                self._claim.id, session=session, step=step, path=key, size_bytes=size
            )
        )
        if self._keep is not LAST_TWO:
            self._drop_needless_state()
            self._leave_two_here(folder)
        self._forget_all_but(self._keep.training)

    def finished(self) -> None:
        """Delete the checkpoints that only a run that trains may need."""
        self._forget_all_but(self._keep.ended)

    def _forget_all_but(self, count: int | None) -> None:
        """Delete all checkpoints but the last `count` and the best; None keeps all."""
        if count is None:
            return
        run_id, metric = self._claim.id, self._keep.best
        stored = self.read(lambda session: run_checkpoints.of_run(run_id, session=session))
        best = self.read(lambda session: run_checkpoints.best_step(run_id, metric, session=session))
        earlier = [checkpoint for checkpoint in stored[:-count] if checkpoint.step != best]
        if not earlier or self._lost.is_set():
            return
        first = stored[-count].step
        retry_write(
            lambda session: run_checkpoints.forget_before(run_id, session=session, step=first, best=best),
            on_pause=self._wait_for_database,
        )
        self._tell_of_database()
        for checkpoint in earlier:
            self.delete(checkpoint.path)

    def _drop_needless_state(self) -> None:
        """Reduce earlier checkpoints to their weights: delete the other files first, then update the rows."""
        keep = get_settings().resumable_checkpoints
        heavy = self.read(
            lambda session: retention.with_needless_state(self._claim.id, session=session, keep=keep)
        )
        for checkpoint in heavy:
            try:
                size = artifacts.delete_files(checkpoint.path, RESUME_FILES)
            except (OSError, AppError) as error:
                log.warning("The state of %s stays for now: %s", checkpoint.path, error)
                return
            self._write(partial(_forget_state, checkpoint.id, size))

    def _leave_two_here(self, folder: Path) -> None:
        """Delete this machine's copies of all stored checkpoints but the last two."""
        here = checkpoints(folder.parent)
        for earlier in here[here.index(folder) + 2 :] if folder in here else []:
            remove_checkpoint(earlier)

    def delete(self, key: str) -> None:
        """Delete an artifact that no row refers to any more; best effort."""
        try:
            artifacts.delete_folder(key)
        except (OSError, AppError) as error:
            log.warning("%s could not be deleted: %s", key, error)

    def fetch(self, key: str, folder: Path) -> Path:
        """Copy an artifact to this machine, waiting while the store is unavailable.

        Raises:
            Interrupted: the run should end.
            Refused: the artifact does not exist.
        """
        try:
            return self._with_store(lambda: artifacts.fetch_folder(key, folder))
        except _NotNow as reason:
            raise Interrupted(reason.wish) from reason

    def fetch_weights(self, checkpoint: str, folder: Path) -> Path:
        """Copy a checkpoint's weights to this machine, waiting while the store is unavailable.

        Raises:
            Interrupted: the run should end.
            Refused: they do not exist.
        """
        try:
            return self._with_store(lambda: artifacts.fetch_weights(checkpoint, folder))
        except _NotNow as reason:
            raise Interrupted(reason.wish) from reason

    def _with_store(self, act: Callable[[], T]) -> T:
        """Call `act`, waiting while the artifacts' store is unavailable, and log how long that took."""
        self._store_away_since = None
        done = retry(act, on_pause=self._wait_for_store)
        self._tell_of_outage("artifacts' store", self._store_away_since)
        return done

    def _wait_for_store(self, what: str, seconds: float) -> None:
        """Show on the run's page what it waits for, and for how long."""
        self._store_away_since = time.monotonic() - seconds
        if seconds > 1:
            self._say_phase(f"waiting for the {what}, {_for(seconds)} so far")
        wish = self.wish()
        if wish is not Wish.CONTINUE and seconds > UNWANTED_SECONDS:
            raise _NotNow(wish, f"the {what} is away.")

    def _wait_for_database(self, what: str, seconds: float) -> None:
        self._database_away_since = time.monotonic() - seconds
        if self._lost.is_set():
            raise Interrupted(Wish.ABANDON)

    def _say_phase(self, phase: str) -> None:
        self._write(lambda session: run_transitions.set_phase(self._claim, session=session, phase=phase))

    def log(self, level: LogLevel, message: str) -> None:
        self._write(
            lambda session: run_events.add(
                session=session, run_id=self._claim.id, level=EventLevel(level), message=message
            )
        )

    def wish(self) -> Wish:
        if self._lost.is_set():
            return Wish.ABANDON
        if shutting_down.is_set():
            return Wish.YIELD
        if time.monotonic() - self._asked_at >= WISH_SECONDS:
            self._wish = self._read_wish()
            self._asked_at = time.monotonic()
        return self._wish

    def _read_wish(self) -> Wish:
        try:
            with read_session() as session:
                wish = run_transitions.read_wish(self._claim, session=session)
        except SQLAlchemyError as error:
            if unavailable_service(error) is None:
                raise
            log.warning("The wish of run %s could not be read: %s", self._claim.id, error)
            return self._wish
        if wish is None:
            self._lost.set()
            return Wish.ABANDON
        if wish is RunWish.NONE:
            return Wish.CONTINUE
        if self._wish is not Wish.CANCEL:
            self._write(lambda session: RUN_LEASES.acknowledge_cancel(self._claim, session=session))
        return Wish.CANCEL

    def read(self, read: Callable[[Session], T]) -> T:
        """Read from the database, waiting while it is unavailable.

        Raises:
            Interrupted: the lease was lost.
        """
        found = retry_read(read, on_pause=self._wait_for_database)
        self._tell_of_database()
        return found

    def _write(self, write: Callable[[Session], object]) -> None:
        """Write exactly once, waiting while the database is unavailable; a no-op once the lease is lost."""
        with self._writing:
            if self._lost.is_set():
                return
            self._last_write += 1
            number = self._last_write

            def write_once(session: Session) -> None:
                state = numbered_writes.begin(self._claim, number, session=session)
                if state is numbered_writes.Write.NEW:
                    write(session)
                elif state is numbered_writes.Write.LOST:
                    self._lost.set()

            retry_write(write_once, on_pause=self._wait_for_database)
            self._tell_of_database()

    def _tell_of_database(self) -> None:
        since, self._database_away_since = self._database_away_since, None
        self._tell_of_outage("database", since)

    def _tell_of_outage(self, what: str, since: float | None) -> None:
        seconds = 0.0 if since is None else time.monotonic() - since
        if seconds > TOLD_SECONDS:
            self.log("warning", f"The {what} was away for {_for(seconds)}; the run waited for it.")


class _NotNow(Exception):
    """The store is unavailable and the run should end, so the checkpoint is given up."""

    def __init__(self, wish: Wish, reason: str) -> None:
        super().__init__(reason)
        self.wish = wish


def _forget_state(checkpoint_id: int, size: int, session: Session) -> None:
    retention.forget_state(checkpoint_id, session=session, size_bytes=size)


def _for(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


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
        score=sample.score,
    )
