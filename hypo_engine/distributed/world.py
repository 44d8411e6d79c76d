""":class:`World` coordinates the processes of a run; a run of one process has a world of size one.

A worker starts them (:mod:`.devices`), or ``torchrun --nproc-per-node N -m hypo_engine config.yaml`` does:
gloo on CPUs, nccl between GPUs, one process per GPU. Every process has the model and takes its share of a
step's pairs. Gradients are summed over the processes before all apply the same optimiser step. Only the main
process (rank 0) reports and writes.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from hypo_engine.distributed.out_of_memory import OutOfMemory, is_out_of_memory
from hypo_engine.errors import ConfigError, EngineError, Interrupted
from hypo_engine.reporting import Reporter, SilentReporter, Wish

T = TypeVar("T")

_BUCKET_ELEMENTS = 1 << 24
_TIMEOUT = timedelta(hours=12)  # the other processes wait while the main one evaluates
_RUNS = itertools.count()

_GOOD, _NO_MEMORY, _STOPPED, _FAILED = range(4)
"""Outcome of a process's work; the worst one applies to all processes."""


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: Index of this process, from 0.
        size: Number of processes.
        lockstep: Model calls involve every process, because the weights are sharded. All make the same
            calls, and a process that fails exits at once instead of synchronizing.
    """

    rank: int = 0
    size: int = 1
    lockstep: bool = False
    _key: str = field(default_factory=lambda: f"hypo-engine/{next(_RUNS)}/stop")

    @property
    def main(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The values of all processes, by rank. All processes must call it."""
        if self.size == 1:
            return [value]
        found: list[T] = [value] * self.size
        dist.all_gather_object(found, value)
        return found

    def from_main(self, value: T) -> T:
        """The main process's value. All processes must call it."""
        return self.gather(value)[0]

    @contextmanager
    def synchronized(self) -> Iterator[None]:
        """A scope of independent work that has the same outcome in all processes.

        If it fails, is stopped or runs out of memory in one process, every process raises.

        Raises:
            OutOfMemory: (or torch's error) a process ran out of memory, and none failed otherwise or was
                stopped.
            Interrupted: a process was asked to stop.
            EngineError: the work failed in another process; the message is that process's.
        """
        if self.size == 1:
            yield
            return
        mine: Exception | None = None
        try:
            yield
        except Exception as error:
            if self.lockstep and not isinstance(error, Interrupted):
                raise
            mine = error
            if not is_out_of_memory(error):
                wish = error.wish if isinstance(error, Interrupted) else Wish.YIELD
                _store().set(self._key, wish.value)
        ends = self.gather(_end(mine))
        worst, sentence = max(ends, key=lambda end: end[0])
        if worst == _STOPPED:
            raise Interrupted(Wish(sentence)) from mine
        if mine is not None and _end(mine)[0] == worst:
            raise mine
        if worst == _FAILED:
            raise EngineError(sentence) from mine
        if worst == _NO_MEMORY:
            raise OutOfMemory(sentence)

    def raise_if_stopped(self, wish: Wish) -> None:
        """Raise Interrupted if this process is asked to stop, or another one has stopped or failed."""
        if self.lockstep:
            wish = max(self.gather(wish), key=list(Wish).index)
        elif self.size > 1 and wish is Wish.CONTINUE and _store().check([self._key]):
            wish = Wish(_store().get(self._key).decode())
        if wish is not Wish.CONTINUE:
            raise Interrupted(wish)

    @torch.no_grad()
    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum every parameter's gradient over the processes; one that is None everywhere stays None.

        Sharded gradients are skipped: the backward pass has already summed them.
        """
        parameters = [p for p in parameters if not isinstance(p, DTensor)]
        if self.size == 1 or not parameters:
            return
        held = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
        dist.all_reduce(held)
        gradients = []
        for parameter, count in zip(parameters, held.tolist(), strict=True):
            if count and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            dist.all_reduce(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def merge(self, values: Tensor) -> Tensor:
        """Fill the NaNs of a tensor with the other processes' values; the lowest rank has precedence."""
        merged, *others = self.gather(values)
        for other in others:
            merged = torch.where(merged.isnan(), other, merged)
        return merged


class MutedReporter(SilentReporter):
    """The reporter of a process other than the main one: it reports nothing, but passes wishes on."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def wish(self) -> Wish:
        return self._reporter.wish()


@contextmanager
def joined_world(devices: int = 1, *, lockstep: bool = False) -> Iterator[World]:
    """Join the process group that torchrun started, and leave it at the end.

    An existing process group is used, and is not destroyed.

    Args:
        devices: Processes that the configuration asks for; 1 takes any number.

    Raises:
        ConfigError: there are not ``devices`` processes, or a single one in lockstep.
    """
    with ExitStack() as scope:
        if _launched() and not dist.is_initialized():
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            scope.enter_context(join_group())
        world = World(dist.get_rank(), dist.get_world_size(), lockstep) if dist.is_initialized() else World()
        world = replace(world, _key=world.from_main(world._key))  # each process counts its own runs
        if devices > 1 and world.size != devices:
            raise ConfigError(
                f"devices is {devices}, but the number of processes is {world.size}; `python -m hypo_engine "
                "config.yaml` starts as many as it says."
            )
        if lockstep and world.size == 1:
            raise ConfigError(
                "sharding fsdp splits the model across several processes, but there is only one; "
                "set devices to 2 or more, or set sharding to none."
            )
        yield world


@contextmanager
def join_group(store: Any = None, *, rank: int = -1, size: int = -1) -> Iterator[None]:
    """Join a process group, and leave it at the end.

    Args:
        store: Where its processes meet; None is what torchrun's environment says.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def processes_here() -> int:
    """Processes of this run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "0")) or (
        dist.get_world_size() if dist.is_initialized() else 1
    )


def lost_another(error: Exception) -> bool:
    """Whether a collective failed because another process has exited."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _launched() -> bool:
    return dist.is_available() and dist.is_torchelastic_launched() and os.environ["WORLD_SIZE"] != "1"


def _store() -> Any:
    """The process group's key-value store, which works without a collective."""
    return dist.distributed_c10d._get_default_store()


def _end(error: Exception | None) -> tuple[int, str]:
    if error is None:
        return _GOOD, ""
    if isinstance(error, Interrupted):
        return _STOPPED, error.wish.value
    if is_out_of_memory(error):
        return _NO_MEMORY, str(error)
    return _FAILED, str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Group tensors by dtype and device, in order, into buckets of bounded size."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        bucket = kinds.setdefault((tensor.dtype, tensor.device), [])
        if bucket and sum(t.numel() for t in bucket) + tensor.numel() > _BUCKET_ELEMENTS:
            yield kinds.pop((tensor.dtype, tensor.device))
            bucket = kinds.setdefault((tensor.dtype, tensor.device), [])
        bucket.append(tensor)
    yield from kinds.values()
