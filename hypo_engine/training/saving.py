"""When a run writes a checkpoint, and how all processes take part."""

from time import monotonic

from hypo_engine.distributed.fsdp import gathered
from hypo_engine.errors import Interrupted
from hypo_engine.reporting import Wish
from hypo_engine.training.checkpoint import remove_checkpoints_before, save_checkpoint
from hypo_engine.training.run import Run

_ROLLING_SECONDS = 60.0


def checkpoint_is_due(run: Run) -> bool:
    """Whether a checkpoint is due after this step: by ``save_steps`` or, if that is 0, by time."""
    if run.config.save_steps:
        return run.counters.step % run.config.save_steps == 0
    late = monotonic() - run.saved.at >= max(_ROLLING_SECONDS, 20 * run.saved.seconds)
    return run.world.from_main(late)


def save(run: Run, phase: str) -> None:
    """Write a checkpoint of the current step, unless it exists or no step was done.

    The main process writes the whole model; all processes must call this. With ``save_steps`` 0 the last
    two checkpoints are kept, in case one is damaged.

    Args:
        phase: The phase to report meanwhile.

    Raises:
        Interrupted: the reporter wishes to abandon the run; nothing is written.
        EngineError: the disk is full.
    """
    sharded = run.policy, run.optimizer
    if run.world.lockstep:
        run.policy, run.optimizer = gathered(*sharded)
    try:
        with run.world.synchronized():
            if run.world.main:
                _write(run, phase)
    finally:
        run.policy, run.optimizer = sharded
    run.saved.checkpoint = run.world.from_main(run.saved.checkpoint)


def _write(run: Run, phase: str) -> None:
    before, step = run.saved.checkpoint, run.counters.step
    done = before is not None and before.name.endswith(f"-{step:06d}")
    if done or (step == 0 and run.plan.total_steps > 0):
        return
    run.progress(phase)
    _raise_if_abandoned(run)
    started = monotonic()
    run.saved.checkpoint = save_checkpoint(
        run.output_dir,
        policy=run.policy,
        tokenizer=run.tokenizer,
        optimizer=run.optimizer,
        reference=run.reference,
        counters=run.counters,
        fingerprint=run.fingerprint,
    )
    run.saved.at, run.saved.seconds = monotonic(), monotonic() - started
    run.reporter.checkpoint(step, str(run.saved.checkpoint))
    if before is not None and not run.config.save_steps:
        _raise_if_abandoned(run)
        remove_checkpoints_before(before)


def _raise_if_abandoned(run: Run) -> None:
    if (wish := run.reporter.wish()) is Wish.ABANDON:
        raise Interrupted(wish)
