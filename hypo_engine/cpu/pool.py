"""Memory for large float32 tensors on a CPU, used again when a tensor is gone.

A step makes and drops thousands of tensors of few sizes. glibc cannot give the place of an aligned block to
the next one of its size, so its heap has holes that come to a third of what a step keeps; and asking the
system anew for each costs time in page faults. Blocks lie here by size instead. What is idle makes room for
blocks of other sizes, so that the pool holds little more than was once in use together.
"""

import mmap
import weakref
from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

_LEAST = 1 << 18
"""Bytes of a block that is worth keeping."""
_SPARE = 1.125
"""What the pool may hold, of the most that was in use; with less, blocks would go between two uses."""
_FLOAT = torch.float32.itemsize
_LINE, _LINES = 64, 64
"""A cache line, and how many make a page: tensors at one place of a page would fight for the same lines."""


class Pool:
    """Blocks of memory by size.

    All that two threads do at once is to append to a list and to pop from one, which Python does whole.

    Attributes:
        held: Bytes of all blocks, in use or idle.
    """

    def __init__(self) -> None:
        self._idle: dict[int, list[mmap.mmap]] = {}
        self.held, self._most, self._turn = 0, 0, 0

    def empty(self, *shape: int) -> Tensor:
        """A float32 tensor with whatever lies in its memory."""
        count = prod(shape)
        if count * _FLOAT < _LEAST:
            return torch.empty(shape)
        size = _rounded(count * _FLOAT)
        block = _pop(self._idle.get(size)) or self._new(size)
        if block is None:
            return torch.empty(shape)  # raises what torch raises where memory is full, unless it finds some
        self._turn = (self._turn + 5) % _LINES
        view = memoryview(block)[_LINE * self._turn :]
        # the tensor's storage holds the view until it is gone itself
        weakref.finalize(view, self._idle.setdefault(size, []).append, block).atexit = False
        return torch.frombuffer(view, dtype=torch.float32, count=count).view(shape)

    def idle_bytes(self) -> int:
        """What is held and not in use."""
        return sum(size * len(blocks) for size, blocks in list(self._idle.items()))

    def release(self) -> None:
        """Give all idle blocks back to the system: the work that used them is over."""
        self._give_back(lambda: True)
        self._most = 0

    def _new(self, size: int) -> mmap.mmap | None:
        """A block from the system, None if it has none left.

        Idle ones of other sizes go back to it where there would be too many.
        """
        self._most = max(self._most, self.held - self.idle_bytes() + size)
        self._give_back(lambda: self.held + size > _SPARE * self._most)
        try:
            block = mmap.mmap(-1, size + _LINE * _LINES)
        except OSError:  # no room: all that is idle may make some
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
    except IndexError:  # another thread was faster
        return None


def _rounded(size: int) -> int:
    """Up to an eighth of the power of two, so that few sizes come up; what is not touched takes no memory."""
    grain = max(mmap.PAGESIZE, 1 << (size.bit_length() - 4))
    return -(-size // grain) * grain


POOL = Pool()


def empty(*shape: int) -> Tensor:
    """A float32 tensor on the CPU, from the pool of this process."""
    return POOL.empty(*shape)


def empty_like(tensor: Tensor) -> Tensor:
    """The same in another's shape."""
    return POOL.empty(*tensor.shape)
