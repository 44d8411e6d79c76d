"""Training, top to bottom: prepare, then one optimiser step after another, then the last evaluation.

``python -m hypo_engine config.yaml`` and the worker both call :func:`train`. The reporter is asked what
it wishes between steps and within long phases, so that a run can be stopped at any time.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

from hypo_engine.checkpoint import weights_folder
from hypo_engine.config import TrainConfig
from hypo_engine.disk import no_room
from hypo_engine.errors import DataError, EngineError, Interrupted
from hypo_engine.formats import Pair
from hypo_engine.policy import clip_gradients
from hypo_engine.prepare import prepare_run
from hypo_engine.reference import fill_reference, length_batches
from hypo_engine.reporting import Prompt, Reporter, SilentReporter, Wish
from hypo_engine.run import Run
from hypo_engine.schedule import learning_rate_at
from hypo_engine.stepmetrics import StepMetrics


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run leaves.

    Attributes:
        steps: Optimiser steps done.
        metrics: The last value of every metric.
        checkpoint_dir: The last checkpoint.
        adapter_dir: Its LoRA adapter, for PeftModel.from_pretrained; None after full fine-tuning.
        model_dir: The whole model, for from_pretrained; None after LoRA.
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
    resume: bool = True,
) -> TrainResult:
    """Train a policy on preference pairs with DPO or HyPO.

    Args:
        pairs: What is trained on.
        eval_pairs: Held-out pairs; the first ``config.eval_pairs`` that are not too long are used.
        eval_prompts: Held-out prompts for the sampled KL and the probes; the first ``config.eval_prompts``
            and ``config.probe_prompts`` are used.
        output_dir: Where checkpoints go.
        models_dir: Where the demo model is written, once.
        cache_dir: Where cached reference log-probabilities are shared between runs; None keeps none.
        resume: Go on from the latest checkpoint in ``output_dir``; False starts over.

    Raises:
        EngineError: the sentence says what to do (ConfigError, DataError, ModelError, CheckpointError).
        Interrupted: the reporter wished to stop; a checkpoint was written first if any step was done,
            but not for ``Wish.ABANDON``.
    """
    if not pairs:
        raise DataError("There are no pairs to train on; give at least one.")
    reporter = reporter or SilentReporter()
    with _plain_errors():
        run = prepare_run(
            config,
            pairs,
            eval_pairs=eval_pairs,
            eval_prompts=eval_prompts,
            output_dir=output_dir,
            reporter=reporter,
            models_dir=models_dir,
            cache_dir=cache_dir,
            resume=resume,
        )
        try:
            return _train(run)
        except Interrupted as interrupted:
            if interrupted.wish is not Wish.ABANDON:
                run.save("stopping")
            raise


def _train(run: Run) -> TrainResult:
    """The algorithm: step after step, the reference scored ahead, evaluations and checkpoints between."""
    window = StepMetrics()
    while run.counters.step < run.plan.total_steps:
        if run.evaluation_is_due():
            run.evaluate()
        _score_reference_ahead(run)
        run.between("training")
        window.add(_optimizer_step(run))
        step = run.counters.step
        if step % run.config.logging_steps == 0 or step == run.plan.total_steps:
            run.report_metrics(window.means())
            window = StepMetrics()
        if run.save_is_due():
            run.save("saving")

    run.save("saving")
    run.evaluate()
    run.progress("finished")
    return _result(run)


def _score_reference_ahead(run: Run) -> None:
    """Fill the reference cache for the next steps, as many as are done so far and one more.

    Scoring all pairs first would keep people waiting for the first point of a chart; the blocks double,
    so that the cache's file is written a few times only.

    A pair is scored in the batch of the first epoch that holds it, whenever that is: so a run that goes on
    without the file finds the same bits again.
    """
    step, cache = run.counters.step, run.reference
    if cache is None or not cache.missing(run.plan.indices(step)):
        return
    ahead = range(step, min(2 * step + 1, run.plan.total_steps))
    places = cache.missing([place for next_step in ahead for place in run.plan.indices(next_step)])
    fill_reference(
        cache,
        run.policy,
        run.pairs,
        [batch for first in run.plan.first_steps(places) for batch in _step_batches(run, first)],
        between=lambda done, all_: run.between(f"reference log-probabilities ({done} of {all_} pairs)"),
    )


def _step_batches(run: Run, step: int) -> list[list[int]]:
    """Places of a step's pairs, in the batches that are run."""
    return length_batches(run.plan.indices(step), run.pairs, run.config.per_device_train_batch_size)


def _optimizer_step(run: Run) -> dict[str, float]:
    """One step of DPO or HyPO on the step's pairs; returns its metrics."""
    started, config, counters = perf_counter(), run.config, run.counters
    batches = _step_batches(run, counters.step)
    pairs_in_step = sum(map(len, batches))
    rate = learning_rate_at(counters.step, run.plan.total_steps, config)
    run.set_learning_rate(rate)

    metrics, sampling_seconds = StepMetrics(), 0.0
    for places in batches:
        result = run.objective(
            run.policy,
            [run.pairs[place] for place in places],
            step=counters.step,
            reference=run.reference,
            places=places,
            watch=run.watch,
        )
        (result.loss * (len(places) / pairs_in_step)).backward()  # type: ignore[no-untyped-call]
        metrics.add(result.metrics, weight=len(places))
        sampling_seconds += result.sampling_seconds
        run.report_responses(result.responses)
    values = metrics.means()
    grad_norm = float(clip_gradients(run.parameters, config.max_grad_norm))
    _check_finite(values["loss"], grad_norm, counters.step + 1)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)

    counters.step += 1
    counters.num_tokens += sum(run.pairs[place].tokens for batch in batches for place in batch)
    seconds = perf_counter() - started
    values |= {
        "grad_norm": grad_norm,
        "learning_rate": rate,
        "epoch": counters.step / run.plan.steps_per_epoch,
        "num_tokens": float(counters.num_tokens),
        "step_time": seconds,
        "time/training": seconds - sampling_seconds,
    }
    return values | ({"time/sampling": sampling_seconds} if run.objective.online else {})


def _check_finite(loss: float, grad_norm: float, step: int) -> None:
    if not math.isfinite(loss) or not math.isfinite(grad_norm):
        raise EngineError(
            f"At step {step} the loss or its gradient is not a finite number; "
            "lower the learning rate, or raise the warm-up, and start again."
        )


def _result(run: Run) -> TrainResult:
    checkpoint = run.last_checkpoint
    assert checkpoint is not None
    weights = weights_folder(checkpoint)
    return TrainResult(
        steps=run.counters.step,
        metrics=run.last_metrics,
        checkpoint_dir=checkpoint,
        adapter_dir=weights if run.policy.adapted else None,
        model_dir=None if run.policy.adapted else weights,
    )


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what a full disk or a full memory raises into a sentence."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(
            "The accelerator's memory is full; lower the batch size, or turn gradient checkpointing on."
        ) from error
    except MemoryError as error:
        raise EngineError("The memory is full; lower the batch size or choose a smaller model.") from error
    except OSError as error:
        if (sentence := no_room(error)) is None:
            raise
        raise EngineError(sentence) from error
