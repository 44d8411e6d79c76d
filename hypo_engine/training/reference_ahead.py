"""Reference scoring just ahead of training, in blocks of steps that double.

Scoring all pairs first would delay the first training step. The blocks double so that the cache file is
written only a few times. A pair is always scored in its batch of the first epoch, so a run that resumes
without the file computes the same bits again.
"""

from collections.abc import Sequence

from hypo_engine.distributed.out_of_memory import is_out_of_memory, release_cached_memory
from hypo_engine.errors import memory_full
from hypo_engine.reference.scores import ReferenceCache, fill_reference
from hypo_engine.training.run import Run


def score_reference_ahead(run: Run) -> None:
    """Fill the reference cache for the next steps: as many as are done so far, plus one."""
    step, cache = run.counters.step, run.reference
    if cache is None or not cache.missing(run.plan.pair_indices(step)):
        return
    ahead = range(step, min(2 * step + 1, run.plan.total_steps))
    missing = cache.missing([i for next_step in ahead for i in run.plan.pair_indices(next_step)])
    batches = [
        batch
        for first in run.plan.first_steps(missing)
        for share in run.batches(first, run.config.per_device_train_batch_size)
        for batch in share
        if cache.missing(batch)
    ]
    with run.world.synchronized():
        _fill(run, cache, _own(run, batches))
    merged = run.world.merge(cache.values)
    cache.values = merged.clone()
    if run.world.size > 1 and run.world.main:
        cache.save()
        cache.values = merged  # the other processes have not seen what other runs added meanwhile


def _own(run: Run, batches: Sequence[list[int]]) -> list[list[int]]:
    """The batches that this process scores; in lockstep all processes score the same number."""
    rank, size = run.world.rank, run.world.size
    rest = -len(batches) % size if run.world.lockstep else 0
    return [*batches, *([batches[0]] * rest)][rank::size]


def _fill(run: Run, cache: ReferenceCache, batches: list[list[int]]) -> None:
    """Score batches; on out of memory, continue with batches of half the size."""
    try:
        fill_reference(
            cache,
            run.policy,
            run.pairs,
            batches,
            between=lambda done, all_: run.between(f"reference log-probabilities ({done} of {all_} pairs)"),
        )
        return
    except Exception as error:
        largest = max(map(len, batches))
        if largest == 1 or run.world.lockstep or not is_out_of_memory(error):
            raise
    release_cached_memory()
    half = (largest + 1) // 2
    run.reporter.log("warning", memory_full(f"the reference goes on with {half} pairs at once"))
    _fill(run, cache, [b[start : start + half] for b in batches for start in range(0, len(b), half)])
