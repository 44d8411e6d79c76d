"""Undoes what vLLM changes in the process that it shares with the engine.

On import and start it sets environment variables, among them LD_PRELOAD for child processes, seeds every
global generator, and changes torch's number of threads. On a CPU it also replaces functions of torch.
"""

import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

_ENVIRONMENT: Final = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the weights are handed over within the process
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_DISABLE_COMPILE_CACHE": "1",  # its key has the path of a temporary folder
}


class Replaced:
    """The functions of torch that vLLM replaces on a CPU; it needs the others as long as it runs."""

    def __init__(self) -> None:
        accelerator: Any = torch.accelerator
        self._set_threads: Any = torch.set_num_threads
        self._of_accelerator = {name: getattr(accelerator, name) for name in ("synchronize", "empty_cache")}

    def give_back_threads(self) -> None:
        """Let torch.set_num_threads work again."""
        torch.set_num_threads = self._set_threads

    def give_back_accelerator(self) -> None:
        """Undo the replacements that vLLM needs, once it has stopped."""
        for name, function in self._of_accelerator.items():
            setattr(torch.accelerator, name, function)


@contextmanager
def contained(replaced: Replaced) -> Iterator[None]:
    """A scope in which vLLM is imported and started; afterwards the process is as before, for the engine."""
    environment, threads, numbers = dict(os.environ), torch.get_num_threads(), random.getstate()
    numpy: Any = sys.modules.get("numpy")
    of_numpy = numpy.random.get_state() if numpy else None
    os.environ.update(_ENVIRONMENT)
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # it counts for more than the size that is asked for
    try:
        with torch.random.fork_rng(devices=_devices()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        replaced.give_back_threads()
        torch.set_num_threads(threads)
        random.setstate(numbers)
        if numpy:
            numpy.random.set_state(of_numpy)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


@contextmanager
def at_threads(threads: int) -> Iterator[None]:
    """A scope with vLLM's number of threads, which guards its compiled code, and with its own randomness."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=_devices()):
            yield
    finally:
        torch.set_num_threads(before)


def _devices() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() else []
