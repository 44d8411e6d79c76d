"""KTO's reference point of a step: answers under other prompts, over all of its batches and processes."""

from functools import partial

from hypo_engine.config import Need
from hypo_engine.forward.logprobs import Ids
from hypo_engine.methods.mismatch import RatioSum, mismatched_answers, mismatched_ratios
from hypo_engine.training.halving import halving
from hypo_engine.training.run import Run


def step_mismatch(run: Run) -> float | None:
    """The mean log-ratio of the step's mismatched answers; None if the method does not need it.

    It is of the whole step, so the step's gradient does not depend on how it is divided into batches.

    Raises:
        Interrupted: the reporter wishes to stop.
    """
    if Need.MISMATCHED not in run.objective.needs:
        return None
    in_step = run.plan.pair_indices(run.counters.step)
    answers = dict(zip(in_step, mismatched_answers([run.pairs[i] for i in in_step]), strict=True))
    parts = run.world.gather(halving(run, partial(_ratios, run, answers)))
    return sum(parts, RatioSum()).mean


def _ratios(run: Run, answers: dict[int, list[Ids]], size: int) -> RatioSum:
    """The sum over this process's pairs."""
    found = RatioSum()
    for pair_indices, _ in run.micro_batches(size):
        run.between("training")
        pairs = [run.pairs[i] for i in pair_indices]
        found += mismatched_ratios(run.policy, pairs, [answers[i] for i in pair_indices])
    return found
