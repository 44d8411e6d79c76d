"""The training loop: prepare, run the optimiser steps, then do the last evaluation.

``python -m hypo_engine config.yaml`` and the worker both call :func:`train`. The loop asks the reporter
for its wish between steps and within long phases, so a run can be stopped at any time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from hypo_engine.config import Sharding, TrainConfig, parse_config
from hypo_engine.data.formats import Pair
from hypo_engine.data.token_pairs import StepMeans
from hypo_engine.decoding.vllm_engine import require_vllm
from hypo_engine.distributed.out_of_memory import release_cached_memory
from hypo_engine.distributed.world import MutedReporter, joined_world
from hypo_engine.errors import DataError, EngineError, Interrupted
from hypo_engine.forward.four_bit import require_bitsandbytes
from hypo_engine.forward.phases import phase
from hypo_engine.methods.objective import BatchResult
from hypo_engine.models.source import ModelSource
from hypo_engine.reporting import Prompt, Reporter, SilentReporter, Wish
from hypo_engine.training.best import keep_if_best
from hypo_engine.training.checkpoint import ADAPTER_FOLDER, weights_folder
from hypo_engine.training.explain import plain_errors
from hypo_engine.training.halving import halving
from hypo_engine.training.metrics import StepMetrics, StepSums
from hypo_engine.training.mismatch import step_mismatch
from hypo_engine.training.optimizer import clip_gradients
from hypo_engine.training.prepare import prepare_run
from hypo_engine.training.reference_ahead import score_reference_ahead
from hypo_engine.training.reports import (
    evaluate,
    evaluation_is_due,
    report_is_due,
    report_metrics,
    report_responses,
    step_values,
)
from hypo_engine.training.reward_scale import measure_scale
from hypo_engine.training.rollouts import Kept, keep_samples
from hypo_engine.training.run import Run
from hypo_engine.training.saving import checkpoint_is_due, save
from hypo_engine.training.stop_rules import budget_is_spent, stops_at_kl
from hypo_engine.training.vllm import sampling


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The result of a run.

    Attributes:
        steps: Number of optimiser steps.
        metrics: The last value of every metric.
        checkpoint_dir: The last checkpoint.
        adapter_dir: Its LoRA adapter, for PeftModel.from_pretrained; None after full fine-tuning.
        model_dir: The whole model, for from_pretrained, or a reward model, for
            AutoModelForSequenceClassification.from_pretrained; None for an adapter.
    """

    steps: int
    metrics: dict[str, float]
    checkpoint_dir: Path
    adapter_dir: Path | None
    model_dir: Path | None


def train(
    config: TrainConfig,
    pairs: Sequence[Pair],
    *,
    eval_pairs: Sequence[Pair] = (),
    eval_prompts: Sequence[Prompt] = (),
    output_dir: Path,
    reporter: Reporter | None = None,
    models_dir: Path,
    cache_dir: Path | None = None,
    reward_folder: Path | None = None,
    run_model: ModelSource | None = None,
    resume: bool = True,
) -> TrainResult:
    """Train a policy on preference pairs.

    Args:
        pairs: Training pairs.
        eval_pairs: Held-out pairs; the first ``config.eval_pairs`` that are not too long are used.
        eval_prompts: Held-out prompts; the first ``config.eval_prompts`` are used for the sampled KL and the
            first ``config.probe_prompts`` as probes.
        output_dir: Folder of the checkpoints.
        models_dir: Folder in which the demo model is unpacked.
        cache_dir: Folder of the reference cache, which runs share; None disables it.
        reward_folder, run_model: Files of the runs that ``config`` names as ``run:12``, for reward and model.
        resume: Resume from the latest checkpoint in ``output_dir``; False starts over.

    Raises:
        EngineError: the message says what to do (ConfigError, DataError, ModelError, CheckpointError).
        Interrupted: the reporter wished to stop. After any step a checkpoint was written, but for ABANDON.
    """
    config = _checked(config, pairs)
    reporter = reporter or SilentReporter()
    with plain_errors(), joined_world(config.devices, lockstep=config.sharding is Sharding.FSDP) as world:
        with world.synchronized():
            run = prepare_run(
                config,
                pairs,
                eval_pairs=eval_pairs,
                eval_prompts=eval_prompts,
                output_dir=output_dir,
                reporter=reporter if world.main else MutedReporter(reporter),
                models_dir=models_dir,
                cache_dir=cache_dir,
                reward_folder=reward_folder,
                run_model=run_model,
                resume=resume,
                world=world,
            )
        run.share_state()
        try:
            with sampling(run):
                return _train(run)
        except Interrupted as interrupted:
            if interrupted.wish is not Wish.ABANDON:
                save(run, "stopping")
            raise
        finally:
            release_cached_memory()


def _checked(config: TrainConfig, pairs: Sequence[Pair]) -> TrainConfig:
    """A configuration whose fields are valid, and whose packages are there; there must be pairs."""
    if not pairs:
        raise DataError("There are no pairs to train on; give at least one.")
    config = parse_config(dict(config))  # model_copy checks nothing
    if config.load_in_4bit:
        require_bitsandbytes("load_in_4bit")
    if config.samples_with_vllm:
        require_vllm()
    return config


def _train(run: Run) -> TrainResult:
    """Run the steps, with reference scoring ahead of them, and reports and checkpoints in between."""
    while run.counters.step < run.plan.total_steps and not budget_is_spent(run):
        if evaluation_is_due(run):
            evaluate(run)
            keep_if_best(run)
            if stops_at_kl(run):
                return _end(run)
        score_reference_ahead(run)
        run.counters.window.add(_optimizer_step(run))
        if report_is_due(run):
            report_metrics(run, run.counters.window.means())
            run.counters.window = StepMetrics()
        if checkpoint_is_due(run):
            save(run, "saving")

    measure_scale(run)
    save(run, "saving")
    evaluate(run)
    keep_if_best(run)
    return _end(run)


def _end(run: Run) -> TrainResult:
    """End an evaluated run: report the steps since the last report, and keep its last checkpoint."""
    if run.counters.window.sums:
        report_metrics(run, run.counters.window.means())
    save(run, "saving")
    run.progress("finished")
    return _result(run)


def _optimizer_step(run: Run) -> dict[str, float]:
    """Run one step over all processes; returns its metrics.

    A step is one update, or several on the same samples if the method keeps them. It cannot be stopped
    between two updates, so that a checkpoint never holds a part of a step.
    """
    started, rate = perf_counter(), run.set_learning_rate()
    kept = keep_samples(run)
    means, sampling_seconds = StepMetrics(), kept.sampling_seconds if kept else 0.0
    for _ in range(run.objective.updates):
        done = _update(run, kept)
        means.add(done.metrics.means())
        sampling_seconds += done.sampling_seconds
    run.count_step()
    values = means.means() | (kept.metrics if kept else {})
    seconds = perf_counter() - started
    run.counters.seconds += seconds
    return values | step_values(run, rate=rate, seconds=seconds, sampling_seconds=sampling_seconds)


def _update(run: Run, kept: Kept | None) -> StepSums:
    """Run one update of the weights over all processes."""
    own = halving(run, partial(_gradients, run, kept, step_mismatch(run)))
    run.world.sum_gradients(run.parameters)
    done = StepSums.joined(run.world.gather(own))
    report_responses(run, done.responses)

    with phase("optimiser"):
        grad_norm = float(clip_gradients(run.parameters, run.config.max_grad_norm))
        _check_finite(done.metrics.means()["loss"], grad_norm, run.counters.step + 1)
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
    done.metrics.add({"grad_norm": grad_norm})
    return done


def _gradients(run: Run, kept: Kept | None, mismatched: float | None, size: int) -> StepSums:
    """Accumulate the gradient of the method's loss over this process's micro-batches."""
    if kept is None:
        run.between("training")
    run.optimizer.zero_grad(set_to_none=True)
    in_step, sums = run.plan.pair_indices(run.counters.step), StepSums()
    means = run.pairs.means(in_step)
    for pair_indices, counted in run.micro_batches(size):
        result = _batch_result(run, kept, pair_indices, means, mismatched)
        with phase("backward"):
            (result.loss * (counted / len(in_step))).backward()  # type: ignore[no-untyped-call]
        sums.add(result, counted)
        del result  # free the rest of the graph before the next one is built
    return sums


def _batch_result(
    run: Run, kept: Kept | None, pair_indices: list[int], means: StepMeans, mismatched: float | None
) -> BatchResult:
    """The loss of a micro-batch, on kept samples if there are some."""
    batch, step = [run.pairs[i] for i in pair_indices], run.counters.step
    if kept is not None:
        samples = [one for i in pair_indices for one in kept.by_pair[i]]
        return run.objective.replayed(run.policy, batch, samples, step=step, mean_tokens=kept.mean_tokens)
    # scores the pairs, samples k responses per prompt and scores them, as far as the method needs it
    return run.objective(
        run.policy,
        batch,
        step=step,
        reference=run.reference,
        pair_indices=pair_indices,
        watch=run.watch,
        means=means,
        mismatched=mismatched,
    )


def _check_finite(loss: float, grad_norm: float, step: int) -> None:
    if not math.isfinite(loss) or not math.isfinite(grad_norm):
        raise EngineError(
            f"At step {step} the loss or its gradient is not a finite number; "
            "lower the learning rate, or raise the warm-up, and start again."
        )


def _result(run: Run) -> TrainResult:
    checkpoint = run.saved.checkpoint
    assert checkpoint is not None
    weights = weights_folder(checkpoint)
    return TrainResult(
        steps=run.counters.step,
        metrics=run.counters.metrics,
        checkpoint_dir=checkpoint,
        adapter_dir=weights if weights.name == ADAPTER_FOLDER else None,
        model_dir=None if weights.name == ADAPTER_FOLDER else weights,
    )
