"""Halves the micro-batch on out of memory, and repeats the work on the same pairs.

A step's gradient is a sum over its pairs, so smaller micro-batches give the same step up to rounding. The
size that fits is used for the rest of the run, and saved in its checkpoints.
"""

from collections.abc import Callable
from typing import TypeVar

from hypo_engine.distributed.out_of_memory import is_out_of_memory, release_cached_memory
from hypo_engine.errors import memory_full
from hypo_engine.training.run import Run

T = TypeVar("T")


def halving(run: Run, work: Callable[[int], T]) -> T:
    """Call ``work(size)`` in every process; if one runs out of memory, all retry with half the size.

    Raises:
        MemoryError: (or torch's error) a single pair does not fit, or the weights are sharded: a process
            that fails within a sharded model's forward pass cannot interrupt the others.
    """
    while True:
        size = run.micro_batch
        try:
            with run.world.synchronized():
                return work(size)
        except Exception as error:
            if size == 1 or run.world.lockstep or not is_out_of_memory(error):
                raise
        release_cached_memory()  # by now the error, and the graph that it references, are freed
        run.counters.micro_batch = size // 2
        run.reporter.log(
            "warning",
            memory_full(
                f"the step is done again with {size // 2} pairs at once instead of {size}, "
                "as is the rest of the run; the result is the same"
            )
            + f" A per_device_train_batch_size of {size // 2} saves the attempt.",
        )
