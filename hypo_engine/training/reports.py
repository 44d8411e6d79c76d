"""A run's reports: metrics of its steps, sampled responses, evaluations."""

from collections.abc import Sequence

from hypo_engine.data.tokenize import decode_text
from hypo_engine.methods.batch import ScoredResponse
from hypo_engine.reporting import Sample
from hypo_engine.training.run import Run


def report_is_due(run: Run) -> bool:
    """Whether metrics are reported after this step: every ``logging_steps``, and at the end."""
    step = run.counters.step
    return step % run.config.logging_steps == 0 or step == run.plan.total_steps


def report_metrics(run: Run, values: dict[str, float]) -> None:
    """Report metrics, and store them as the run's latest."""
    run.counters.metrics |= values
    run.reporter.metrics(run.counters.step, values)


def step_values(run: Run, *, rate: float, seconds: float, sampling_seconds: float) -> dict[str, float]:
    """Metrics of the last step, besides the objective's."""
    values = {
        "learning_rate": rate,
        "epoch": run.counters.step / run.plan.steps_per_epoch,
        "num_tokens": float(run.counters.num_tokens),
        "step_time": seconds,
        "time/training": seconds - sampling_seconds,
    }
    return values | ({"time/sampling": sampling_seconds} if run.objective.sampler else {})


def report_responses(run: Run, responses: Sequence[ScoredResponse]) -> None:
    """Count and report the responses sampled in the current step; steps are numbered from 1."""
    run.counters.samples += len(responses)
    run.counters.sample_tokens += sum(len(scored.response.ids) for scored in responses)
    samples = [
        Sample(
            kind="online",
            step=run.counters.step + 1,
            prompt=run.source_pairs[scored.pair.source_index].prompt,
            text=decode_text(run.tokenizer, scored.response.ids),
            seed=scored.seed,
            tokens=len(scored.response.ids),
            finished=scored.response.finished,
            policy_logp=scored.policy_logp,
            reference_logp=scored.reference_logp,
            score=scored.score,
        )
        for scored in responses
    ]
    if samples:
        run.reporter.samples(samples)


def evaluation_is_due(run: Run) -> bool:
    """Whether the policy is evaluated before the next step: at the start, and every ``eval_steps``."""
    every, step = run.config.eval_steps, run.counters.step
    return step == 0 or (every > 0 and step % every == 0)


def evaluate(run: Run) -> None:
    """Evaluate the policy and report the result: on the main process, or on all if weights are sharded.

    Raises:
        Interrupted: the reporter wishes to stop.
    """
    if run.world.lockstep:
        run.evaluation.reference.values = run.world.merge(run.evaluation.reference.values)
    with run.world.synchronized():
        if not (run.world.main or run.world.lockstep):
            return
        run.between("evaluating")
        if run.counters.step == 0:
            report_metrics(run, dict(run.pair_counts))
        for metrics, samples in run.evaluation(run.policy, run.counters.step):
            if metrics:
                report_metrics(run, metrics)
            if samples:
                run.reporter.samples(samples)
