"""The checkpoint that is best by a held-out metric, which a run keeps besides its last ones."""

from math import isfinite

from hypo_engine.config import BestMetric
from hypo_engine.training.run import Run
from hypo_engine.training.saving import drop_older, save


def keep_if_best(run: Run) -> None:
    """Keep a checkpoint of the step that was evaluated just now if no earlier step was as good.

    Step 0 does not count, since nothing is trained. All processes must call it.
    """
    metric, counters = run.config.metric_for_best_model, run.counters
    if metric is BestMetric.NONE or counters.step == 0:
        return
    value = run.world.from_main(counters.metrics.get(metric.value))
    if value is None and counters.step == run.config.eval_steps:
        run.reporter.log(
            "warning",
            f"metric_for_best_model is {metric.value}, which is not measured without held-out pairs: no "
            "checkpoint is kept as the best. Hold out a share of the dataset's prompts.",
        )
    if value is None or not isfinite(value) or (counters.best is not None and value <= counters.best):
        return
    counters.best, counters.best_step = value, counters.step
    save(run, "saving")
    drop_older(run)
