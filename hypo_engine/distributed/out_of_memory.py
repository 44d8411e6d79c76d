"""Recognises out-of-memory errors, and releases cached memory."""

import gc

import torch

from hypo_engine.cpu.pool import POOL

_ALLOCATOR_WORDS = ("can't allocate memory", "not enough memory")


class OutOfMemory(MemoryError):
    """Another process of the run is out of memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory: Python's, an accelerator's, or the CPU allocator's."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ALLOCATOR_WORDS)


def release_cached_memory() -> None:
    """Return unused cached memory to the system or the device."""
    gc.collect()
    POOL.release()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
