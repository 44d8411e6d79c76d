"""From a run's id to a trained run: claim, train, and say in the row how it ended."""

import errno
import logging
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from sqlalchemy.orm import Session

from app.errors import AppError, Refused
from app.settings import get_settings
from app.store import datasets, runs
from app.store.db import write_session
from app.store.enums import Split
from app.store.models import Run
from hypo_engine.config import parse_config
from hypo_engine.data.formats import Pair
from hypo_engine.errors import CheckpointError, EngineError, Interrupted
from hypo_engine.reporting import Wish
from hypo_engine.training.checkpoint import DamagedCheckpoint, read_state
from hypo_engine.training.loop import train
from worker import leaving
from worker.lease import LeaseHolder
from worker.patience import LEAVING_SECONDS, StillAway, patiently, read_patiently
from worker.reporter import StoreReporter
from worker.scratch import scratch_folder

log = logging.getLogger(__name__)


def train_next(*, worker: str) -> bool:
    """Train the run that waits longest, from its start or its last checkpoint; False when none waits."""
    seconds, lease_id = get_settings().lease_seconds, str(uuid4())
    run = patiently(
        lambda session: runs.claim_next(
            session=session, worker=worker, lease_seconds=seconds, lease_id=lease_id
        )
    )
    if run is None:
        return False
    run_id = run.id

    def renew() -> bool:
        with write_session() as session:
            return runs.renew(run_id, lease_id, session=session, lease_seconds=seconds)

    with LeaseHolder(renew, seconds) as lease, leaving.holds(_releaser(run_id, lease_id)):
        keep_all = bool(run.config.get("save_steps"))
        reporter = StoreReporter(run_id, lease_id, lease.lost, keep_all=keep_all)
        try:
            _train(run, reporter)
        except Interrupted as interrupted:
            _let_go(run_id, lease_id, interrupted.wish)
        except Exception as error:
            log.exception("Run %s failed", run_id)
            _fail(run_id, lease_id, error)
        else:
            patiently(lambda session: _finish(session, run_id, lease_id))
            reporter.finished()
    _clean_up(run)
    return True


def _releaser(run_id: int, lease_id: str) -> Callable[[], None]:
    """What hands the run to the next worker, whatever the engine is doing."""
    return lambda: _let_go(run_id, lease_id, Wish.YIELD, seconds=LEAVING_SECONDS)


def _finish(session: Session, run_id: int, lease_id: str) -> None:
    runs.finish(run_id, lease_id, session=session)


def _train(run: Run, reporter: StoreReporter) -> None:
    settings = get_settings()
    reporter.progress(run.step, run.total_steps, "reading the dataset")
    config = parse_config(run.config)
    pairs = _read_pairs(run.dataset_id, Split.TRAIN, reporter)
    held_out = _read_pairs(run.dataset_id, Split.HELD_OUT, reporter)
    output = _scratch(run)
    _bring_back_checkpoint(run.id, output, reporter)
    train(
        config,
        pairs,
        eval_pairs=held_out,
        eval_prompts=list({str(pair.prompt): pair.prompt for pair in held_out}.values()),
        output_dir=output,
        reporter=reporter,
        models_dir=settings.models_dir,
        cache_dir=settings.cache_dir,
    )


def _read_pairs(dataset_id: int, split: Split, reporter: StoreReporter) -> list[Pair]:
    return reporter.read(lambda session: list(datasets.iter_pairs(dataset_id, session=session, split=split)))


def _scratch(run: Run) -> Path:
    """A folder of this attempt's own: a worker that lost the run cannot disturb the next one in it."""
    return scratch_folder(run.id) / str(run.lease_id)


def _clean_up(run: Run) -> None:
    """Delete the attempt's scratch, and all of it when the run is over; what lasts is in the artifacts."""
    shutil.rmtree(_scratch(run), ignore_errors=True)
    if read_patiently(lambda session: runs.get(run.id, session=session).status.is_over):
        shutil.rmtree(scratch_folder(run.id), ignore_errors=True)


def _bring_back_checkpoint(run_id: int, output: Path, reporter: StoreReporter) -> None:
    """Fetch the last checkpoint of an earlier attempt; what it stored after that is done again.

    One that is damaged or gone gives way to the one before it; the engine says which were damaged.
    """
    stored = reporter.read(lambda session: runs.checkpoints(run_id, session=session))
    found = [checkpoint.path for checkpoint in reversed(stored) if checkpoint.resumable]
    gone: list[Refused] = []
    for path in found:
        try:
            read_state(reporter.fetch(path, output / Path(path).name))
            return
        except StillAway:
            raise
        except Refused as refused:
            gone.append(refused)
            reporter.log("warning", str(refused))
        except DamagedCheckpoint:
            continue
        except CheckpointError:
            return  # whole, and of another format: the engine says so
    if gone and len(gone) == len(found):
        raise gone[0]


def _let_go(run_id: int, lease_id: str, wish: Wish, *, seconds: float | None = None) -> None:
    if wish is Wish.ABANDON:
        return

    def write(session: Session) -> None:
        if wish is Wish.YIELD:
            reason = "The worker was asked to stop; the run waits for the next one."
            runs.release(run_id, lease_id, session=session, reason=reason)
        else:
            runs.cancelled(run_id, lease_id, session=session)

    patiently(write, seconds=seconds)


def _fail(run_id: int, lease_id: str, error: Exception) -> None:
    sentence, trace = describe(error), traceback.format_exc()
    patiently(lambda session: _write_failure(session, run_id, lease_id, sentence, trace))


def _write_failure(session: Session, run_id: int, lease_id: str, sentence: str, trace: str) -> None:
    runs.fail(run_id, lease_id, session=session, error=sentence, traceback=trace)


def describe(error: Exception) -> str:
    """One sentence for people about what ended a run."""
    if isinstance(error, (EngineError, AppError)):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full; free some space, then clone the run and launch it again."
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "Out of memory; lower the batch size or the lengths, then clone the run and launch it again."
    return (
        f"Something unexpected happened ({type(error).__name__}), which the log tells in full; "
        "try again, or choose another base model."
    )
