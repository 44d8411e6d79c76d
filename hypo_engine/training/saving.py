"""When a run writes a checkpoint, and how all processes take part."""

from pathlib import Path
from time import monotonic

from hypo_engine.distributed.fsdp import gathered
from hypo_engine.errors import Interrupted
from hypo_engine.models.classifier import RewardNote
from hypo_engine.reporting import Wish
from hypo_engine.training.checkpoint import (
    CLASSIFIER_FOLDER,
    checkpoint_path,
    keep_last_checkpoints,
    save_checkpoint,
)
from hypo_engine.training.run import Run

_ROLLING_SECONDS = 60.0


def checkpoint_is_due(run: Run) -> bool:
    """Whether a checkpoint is due after this step: by ``save_steps`` or, if that is 0, by time.

    The last step's checkpoint is written after the loop.
    """
    if run.counters.step == run.plan.total_steps:
        return False
    if run.config.save_steps:
        return run.counters.step % run.config.save_steps == 0
    late = monotonic() - run.saved.at >= max(_ROLLING_SECONDS, 20 * run.saved.seconds)
    return run.world.from_main(late)


def save(run: Run, phase: str) -> None:
    """Write a checkpoint of the current step, unless it exists or no step was done.

    The main process writes the whole model; all processes must call this. With ``save_steps`` 0 the last
    two checkpoints are kept, in case one is damaged; otherwise ``save_total_limit``; the best one besides.

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


def drop_older(run: Run) -> None:
    """Delete the checkpoints that the configuration does not keep: all but the last ones and the best."""
    newest, kept, best = run.saved.checkpoint, run.config.checkpoints_kept, run.counters.best_step
    if newest is not None and kept is not None and run.world.main:
        keep_last_checkpoints(newest, kept, best=checkpoint_path(newest.parent, best))


def is_saved(run: Run) -> bool:
    """Whether the current step has a checkpoint; that of a reward model whose scale is known is whole."""
    if _reward_note(run) is not None:
        return has_whole_reward_model(run)
    return _saved_now(run) is not None


def has_whole_reward_model(run: Run) -> bool:
    """Whether the current step's checkpoint has the reward model in one folder, with its scale."""
    last = _saved_now(run)
    return last is not None and (last / CLASSIFIER_FOLDER).is_dir()


def _saved_now(run: Run) -> Path | None:
    last = run.saved.checkpoint
    return last if last is not None and last.name.endswith(f"-{run.counters.step:06d}") else None


def _reward_note(run: Run) -> RewardNote | None:
    """How to use the reward model that the run has trained; None before its scale is measured."""
    head = run.policy.head
    if head is None or head.scale is None:
        return None
    mean, std = head.scale
    return RewardNote(
        mean=mean,
        std=std,
        prompt_style=run.config.prompt_style,
        enable_thinking=run.policy.thinking,
        max_prompt_length=run.config.max_prompt_length,
        end_ids=run.evaluation.stop_ids,
    )


def _write(run: Run, phase: str) -> None:
    step = run.counters.step
    if is_saved(run) or (step == 0 and run.plan.total_steps > 0):
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
        reward_note=_reward_note(run),
    )
    run.saved.at, run.saved.seconds = monotonic(), monotonic() - started
    run.reporter.checkpoint(step, str(run.saved.checkpoint))
    if run.config.checkpoints_kept is not None:
        _raise_if_abandoned(run)
        drop_older(run)


def _raise_if_abandoned(run: Run) -> None:
    if (wish := run.reporter.wish()) is Wish.ABANDON:
        raise Interrupted(wish)
