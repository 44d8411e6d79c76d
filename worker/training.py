"""Claim a run, train it, and record how it ended."""

import errno
import logging
import shutil
import traceback
from functools import partial
from pathlib import Path
from uuid import uuid4

from sqlalchemy.orm import Session

from app import dispatch
from app.errors import AppError, Refused
from app.settings import get_settings
from app.store import run_checkpoints, run_dependencies, run_transitions, runs
from app.store.claims import Claim
from app.store.models import Run
from app.store.run_transitions import RUN_LEASES
from hypo_engine.config import TrainConfig, parse_config
from hypo_engine.errors import CheckpointError, EngineError, Interrupted, disk_full, memory_full
from hypo_engine.reporting import Wish
from hypo_engine.reward_spec import parse_reward
from hypo_engine.training.checkpoint import CLASSIFIER_FOLDER, DamagedCheckpoint, read_state
from hypo_engine.training.run import ask_wish
from worker.engine_job import EngineJob
from worker.lease import LeaseRenewer
from worker.reporter import Kept, StoreReporter
from worker.retry import SHUTDOWN_SECONDS, StillUnavailable, retry_read, retry_write
from worker.run_models import fetch_for_training
from worker.scratch import scratch_folder
from worker.shutdown import released_on_exit

log = logging.getLogger(__name__)


def train_next(*, worker: str, only: int | None = None) -> bool:
    """Train the longest waiting run, from its start or its last checkpoint; return False if none waits.

    Args:
        only: train this run if it waits, and no other.
    """
    seconds, lease = get_settings().lease_seconds, str(uuid4())

    def claim_one(session: Session) -> Run | None:
        if only is None:
            return RUN_LEASES.claim_next(session=session, worker=worker, lease_seconds=seconds, lease=lease)
        return RUN_LEASES.claim(only, session=session, worker=worker, lease_seconds=seconds, lease=lease)

    run = retry_write(claim_one)
    if run is None:
        return False
    claim = Claim.of(run)

    def release() -> None:
        _write_interruption(claim, Wish.YIELD, seconds=SHUTDOWN_SECONDS)

    with LeaseRenewer(RUN_LEASES, [claim], seconds) as renewer, released_on_exit(release):
        reporter = StoreReporter(claim, renewer.lost, keep=Kept.of(run.config))
        try:
            _train(run, claim, reporter)
        except Interrupted as interrupted:
            _write_interruption(claim, interrupted.wish)
        except Exception as error:
            log.exception("Run %s failed", claim.id)
            _write_failure(claim, error)
        else:
            _write_finish(claim)
            reporter.finished()
            _send_dependants(claim.id)
    _clean_up(claim)
    return True


def _train(run: Run, claim: Claim, reporter: StoreReporter) -> None:
    reporter.progress(run.step, run.total_steps, "reading the dataset")
    config, output = parse_config(run.config), _scratch(claim)
    _fetch_last_checkpoint(claim, output, reporter)
    job = EngineJob(
        config,
        run.dataset_id,
        output,
        reward_folder=_fetch_reward(config, _reward_folder(claim), reporter),
        run_model=fetch_for_training(config.model_name_or_path, _base_folder(claim), reporter),
    )
    with job.with_other_processes(_group_folder(claim), partial(ask_wish, reporter)):
        job.run(reporter, reporter.read)


def _fetch_reward(config: TrainConfig, folder: Path, reporter: StoreReporter) -> Path | None:
    """Fetch the reward model of the run that the configuration names, if any."""
    number = parse_reward(config.reward).run if config.reward and config.method.writes else None
    if number is None:
        return None
    checkpoint = reporter.read(lambda session: run_checkpoints.last(number, session=session))
    if checkpoint is None:
        raise Refused(f"The reward model of run {number} was deleted; name another reward and launch again.")
    return reporter.fetch(f"{checkpoint.path}/{CLASSIFIER_FOLDER}", folder)


def _scratch(claim: Claim) -> Path:
    """A folder for this attempt alone, so that a worker that lost the run cannot disturb the next one."""
    return scratch_folder(claim.id) / claim.lease


def _reward_folder(claim: Claim) -> Path:
    """The folder of the reward model that this attempt uses."""
    return scratch_folder(claim.id) / f"{claim.lease}-reward"


def _base_folder(claim: Claim) -> Path:
    """The folder of the run's model that this attempt starts from."""
    return scratch_folder(claim.id) / f"{claim.lease}-base"


def _group_folder(claim: Claim) -> Path:
    """The folder of what the attempt's processes need to find each other."""
    return scratch_folder(claim.id) / f"{claim.lease}-group"


def _clean_up(claim: Claim) -> None:
    """Delete the scratch folder of this attempt, or those of all attempts once the run is over."""
    for used in (_scratch(claim), _reward_folder(claim), _base_folder(claim), _group_folder(claim)):
        shutil.rmtree(used, ignore_errors=True)
    if retry_read(lambda session: runs.get(claim.id, session=session).status.is_over):
        shutil.rmtree(scratch_folder(claim.id), ignore_errors=True)


def _fetch_last_checkpoint(claim: Claim, output: Path, reporter: StoreReporter) -> None:
    """Fetch the last checkpoint of an earlier attempt; the steps after it are repeated.

    If it is damaged or missing, the one before it is fetched; the engine logs which ones were damaged.
    """
    stored = reporter.read(lambda session: run_checkpoints.of_run(claim.id, session=session))
    found = [checkpoint.path for checkpoint in reversed(stored) if checkpoint.resumable]
    gone: list[Refused] = []
    for path in found:
        try:
            read_state(reporter.fetch(path, output / Path(path).name))
            return
        except StillUnavailable:
            raise
        except Refused as refused:
            gone.append(refused)
            reporter.log("warning", str(refused))
        except DamagedCheckpoint:
            continue
        except CheckpointError:
            return  # intact, but of another format: the engine reports it
    if gone and len(gone) == len(found):
        raise gone[0]


def _write_interruption(claim: Claim, wish: Wish, *, seconds: float | None = None) -> None:
    if wish is Wish.ABANDON:
        return

    def write(session: Session) -> None:
        if wish is Wish.YIELD:
            reason = "The worker was asked to stop; the run waits for the next one."
            run_transitions.release(claim, session=session, reason=reason)
        else:
            run_transitions.mark_cancelled(claim, session=session)

    retry_write(write, seconds=seconds)


def _write_failure(claim: Claim, error: Exception) -> None:
    sentence, trace = describe(error), traceback.format_exc()
    retry_write(lambda session: run_transitions.fail(claim, session=session, error=sentence, traceback=trace))


def _write_finish(claim: Claim) -> None:
    retry_write(lambda session: run_transitions.finish(claim, session=session))


def _send_dependants(run_id: int) -> None:
    """Send the runs that waited for a finished run; a keeper sends those that the broker does not take."""
    waited = retry_read(lambda session: run_dependencies.startable_after(run_id, session=session))
    sent = [waiting for waiting in waited if dispatch.send_run(waiting)]

    def write(session: Session) -> None:
        for waiting in sent:
            RUN_LEASES.mark_sent(waiting, session=session)

    retry_write(write)


def describe(error: Exception) -> str:
    """Why a run ended, as one sentence for the user."""
    if isinstance(error, (EngineError, AppError)):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return disk_full("free some space, then clone the run and launch it again")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return memory_full("lower the batch size or the lengths, then clone the run and launch it again")
    return (
        f"Something unexpected happened ({type(error).__name__}), which the log tells in full; "
        "try again, or choose another base model."
    )
