"""The samples of a step on which the method makes several updates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from hypo_engine.methods.rollouts import Experience, Rollout, Rollouts
from hypo_engine.training.halving import halving
from hypo_engine.training.metrics import StepSums
from hypo_engine.training.reports import report_responses
from hypo_engine.training.run import Run


@dataclass(frozen=True, slots=True)
class Kept:
    """The samples of a step.

    Attributes:
        by_pair: Experience of every process, by pair index.
        mean_tokens: Mean length of a response.
        metrics: Means over them.
    """

    by_pair: Mapping[int, Sequence[Experience]]
    mean_tokens: float
    metrics: dict[str, float]
    sampling_seconds: float


def keep_samples(run: Run) -> Kept | None:
    """Draw and report the current step's samples; None if the method does not keep them.

    Advantages are computed from the samples of all processes, in the order of the pairs.

    Raises:
        Interrupted: the reporter wishes to stop.
    """
    if run.objective.rollouts is None:
        return None
    own, sums = halving(run, partial(_draw, run, run.objective.rollouts))
    parts = run.world.gather((own, sums))
    done = StepSums.joined([sums for _, sums in parts])
    report_responses(run, done.responses)
    drawn = sorted(((i, rollouts) for own, _ in parts for i, rollouts in own.items()), key=itemgetter(0))
    judged = run.objective.rollouts.judge([rollout for _, rollouts in drawn for rollout in rollouts])
    k, tokens = len(judged) // len(drawn), sum(len(one.advantages) for one in judged)
    by_pair = {index: judged[place * k : (place + 1) * k] for place, (index, _) in enumerate(drawn)}
    return Kept(by_pair, tokens / len(judged), done.metrics.means(), done.sampling_seconds)


def _draw(run: Run, rollouts: Rollouts, size: int) -> tuple[dict[int, list[Rollout]], StepSums]:
    """Draw samples of this process's pairs."""
    run.between("training")
    found, sums = dict[int, list[Rollout]](), StepSums()
    for pair_indices, counted in run.micro_batches(size):
        drawn = rollouts.draw(
            run.policy, [run.pairs[i] for i in pair_indices], step=run.counters.step, watch=run.watch
        )
        k = len(drawn.rollouts) // len(pair_indices)
        for place, index in enumerate(pair_indices):
            found[index] = drawn.rollouts[place * k : (place + 1) * k]
        sums.add(drawn, counted)
    return found, sums
