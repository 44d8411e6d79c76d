"""Rules that end a run before its last step: a limit on the KL, and budgets."""

from hypo_engine.measures import KL
from hypo_engine.training.run import Run


def stops_at_kl(run: Run) -> bool:
    """Whether the last evaluation's sampled KL is above ``stop_at_kl``. All processes must call it."""
    kl, limit, step = run.counters.metrics.get(KL.metric, 0.0), run.config.stop_at_kl, run.counters.step
    if not limit or not run.world.from_main(kl > limit):
        return False
    if step < run.plan.total_steps:
        told = f"The sampled KL of {kl:.3g} nats is above stop_at_kl, {limit:g}"
        run.reporter.log("info", f"{told}: the run ends after step {step} of {run.plan.total_steps}.")
    return True


def budget_is_spent(run: Run) -> bool:
    """Whether a budget ends the run before its last step. All processes must call it.

    They agree, because the main process decides: seconds differ between processes.
    """
    counters, config, step = run.counters, run.config, run.counters.step
    total = run.plan.total_steps
    budgets = (
        ("stop_at_tokens", config.stop_at_tokens, counters.num_tokens + counters.sample_tokens),
        ("stop_at_samples", config.stop_at_samples, counters.samples),
        ("stop_at_seconds", config.stop_at_seconds, counters.seconds),
    )
    over = [(name, limit) for name, limit, spent in budgets if limit and spent >= limit]
    if not run.world.from_main(bool(over)):
        return False
    for name, limit in over[:1]:
        run.reporter.log(
            "info",
            f"The budget {name} of {limit:,.10g} is spent: the run ends after step {step} of {total}.",
        )
    return True
