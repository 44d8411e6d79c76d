"""From a run's id to a trained run: claim, train, and say in the row how it ended."""

import errno
import logging
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from app import artifacts
from app.errors import AppError, Refused
from app.settings import get_settings
from app.store import datasets, runs
from app.store.db import read_session, write_session
from app.store.enums import Split
from app.store.models import Run
from hypo_engine.checkpoint import DamagedCheckpoint, read_state
from hypo_engine.config import parse_config
from hypo_engine.errors import CheckpointError, EngineError, Interrupted
from hypo_engine.reporting import Wish
from hypo_engine.train import train
from worker import leaving
from worker.lease import LeaseHolder
from worker.reporter import StoreReporter, patiently
from worker.scratch import scratch_folder

log = logging.getLogger(__name__)


def train_run(run_id: int, *, worker: str) -> None:
    """Train a run from start to end, or from its last checkpoint.

    A message says that a run waits. If an older one waits too, its turn comes first and its message will
    find this one; if the run does not wait any more, nothing is done.
    """
    settings = get_settings()
    with write_session() as session:
        run = runs.claim_oldest(run_id, session=session, worker=worker, lease_seconds=settings.lease_seconds)
    if run is None or run.lease_id is None:
        log.info("Run %s does not wait any more; its message is dropped.", run_id)
        return
    run_id, lease_id = run.id, run.lease_id

    def renew() -> bool:
        with write_session() as session:
            return runs.renew(run_id, lease_id, session=session, lease_seconds=settings.lease_seconds)

    with LeaseHolder(renew, settings.lease_seconds) as lease, leaving.holds(_releaser(run_id, lease_id)):
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


def _releaser(run_id: int, lease_id: str) -> Callable[[], None]:
    """What hands the run to the next worker, whatever the engine is doing."""
    return lambda: _let_go(run_id, lease_id, Wish.YIELD)


def _finish(session: Session, run_id: int, lease_id: str) -> None:
    runs.finish(run_id, lease_id, session=session)


def _train(run: Run, reporter: StoreReporter) -> None:
    settings = get_settings()
    reporter.progress(run.step, run.total_steps, "reading the dataset")
    config = parse_config(run.config)
    with read_session() as session:
        pairs = list(datasets.iter_pairs(run.dataset_id, session=session, split=Split.TRAIN))
        held_out = list(datasets.iter_pairs(run.dataset_id, session=session, split=Split.HELD_OUT))
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


def _scratch(run: Run) -> Path:
    """A folder of this attempt's own: a worker that lost the run cannot disturb the next one in it."""
    return scratch_folder(run.id) / str(run.lease_id)


def _clean_up(run: Run) -> None:
    """Delete the attempt's scratch, and all of it when the run is over; what lasts is in the artifacts."""
    shutil.rmtree(_scratch(run), ignore_errors=True)
    with read_session() as session:
        over = runs.get(run.id, session=session).status.is_over
    if over:
        shutil.rmtree(scratch_folder(run.id), ignore_errors=True)


def _bring_back_checkpoint(run_id: int, output: Path, reporter: StoreReporter) -> None:
    """Fetch the last checkpoint of an earlier attempt; what it stored after that is done again.

    One that is damaged or gone gives way to the one before it; the engine says which were damaged.
    """
    with read_session() as session:
        found = [checkpoint.path for checkpoint in reversed(runs.checkpoints(run_id, session=session))]
    gone: list[Refused] = []
    for path in found:
        try:
            read_state(artifacts.fetch_folder(path, output / Path(path).name))
            return
        except Refused as refused:
            gone.append(refused)
            reporter.log("warning", str(refused))
        except DamagedCheckpoint:
            continue
        except CheckpointError:
            return  # whole, and of another format: the engine says so
    if gone and len(gone) == len(found):
        raise gone[0]


def _let_go(run_id: int, lease_id: str, wish: Wish) -> None:
    if wish is Wish.ABANDON:
        return

    def write(session: Session) -> None:
        if wish is Wish.YIELD:
            reason = "The worker was asked to stop; the run waits for the next one."
            runs.release(run_id, lease_id, session=session, reason=reason)
        else:
            runs.cancelled(run_id, lease_id, session=session)

    patiently(write)


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
