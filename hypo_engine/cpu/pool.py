"""A memory pool for large float32 tensors on a CPU.

A step allocates and frees thousands of tensors of few sizes. glibc cannot reuse an aligned block for the next
one of its size, so its heap fragments by a third of what a step keeps, and fresh pages from the system cost
page faults. The pool keeps free blocks by size instead. Idle blocks are freed to make room for other sizes,
so that the pool holds little more than the peak in use.
"""

import mmap
import weakref
from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

_LEAST = 1 << 18
"""Smallest block that is pooled, in bytes."""
_SPARE = 1.125
"""The pool's bound, relative to the peak in use; with a lower bound, blocks would be freed between two uses.
"""
_FLOAT = torch.float32.itemsize
_LINE, _LINES = 64, 64
"""Bytes of a cache line, and lines per page: tensors at equal offsets in their pages would conflict in the
cache.
"""


class Pool:
    """Blocks of memory by size.

    Thread safety rests on list.append and list.pop, which are atomic in Python.

    Attributes:
        held: Bytes of all blocks, in use or idle.
    """

    def __init__(self) -> None:
        self._idle: dict[int, list[mmap.mmap]] = {}
        self.held, self._most, self._turn = 0, 0, 0

    def empty(self, *shape: int) -> Tensor:
        """An uninitialized float32 tensor."""
        count = prod(shape)
        if count * _FLOAT < _LEAST:
            return torch.empty(shape)
        size = _rounded(count * _FLOAT)
        block = _pop(self._idle.get(size)) or self._new(size)
        if block is None:
            return torch.empty(shape)  # raises what torch raises if memory is full
        self._turn = (self._turn + 5) % _LINES
        view = memoryview(block)[_LINE * self._turn :]
        # the tensor's storage keeps the view alive
        weakref.finalize(view, self._idle.setdefault(size, []).append, block).atexit = False
        return torch.frombuffer(view, dtype=torch.float32, count=count).view(shape)

    def idle_bytes(self) -> int:
        """Bytes that are held and not in use."""
        return sum(size * len(blocks) for size, blocks in list(self._idle.items()))

    def release(self) -> None:
        """Return all idle blocks to the system."""
        self._give_back(lambda: True)
        self._most = 0

    def _new(self, size: int) -> mmap.mmap | None:
        """A new block from the system; None if memory is full.

        Idle blocks of other sizes are freed if the pool would exceed its bound.
        """
        self._most = max(self._most, self.held - self.idle_bytes() + size)
        self._give_back(lambda: self.held + size > _SPARE * self._most)
        try:
            block = mmap.mmap(-1, size + _LINE * _LINES)
        except OSError:  # out of memory: freeing the idle blocks may help
            self.release()
            return None
        self.held += size
        return block

    def _give_back(self, more: Callable[[], bool]) -> None:
        for size, blocks in list(self._idle.items()):
            while more() and _pop(blocks):
                self.held -= size


def _pop(blocks: list[mmap.mmap] | None) -> mmap.mmap | None:
    try:
        return blocks.pop() if blocks else None
    except IndexError:  # another thread took it
        return None


def _rounded(size: int) -> int:
    """Round up to an eighth of a power of two, so that few sizes occur; untouched pages take no memory."""
    grain = max(mmap.PAGESIZE, 1 << (size.bit_length() - 4))
    return -(-size // grain) * grain


POOL = Pool()


def empty(*shape: int) -> Tensor:
    """An uninitialized float32 tensor from this process's pool."""
    return POOL.empty(*shape)


def empty_like(tensor: Tensor) -> Tensor:
    """An uninitialized float32 tensor in the shape of another."""
    return POOL.empty(*tensor.shape)
