"""The C library's heap."""

import ctypes
import sys
from typing import Final

_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD in malloc.h
_LARGE: Final = 2**20


def return_large_tensors() -> None:
    """Make glibc return large tensors to the system when they are freed, from now on.

    By default glibc adapts its threshold and keeps them. Where large tensors of many sizes come and go, as
    with recomputed activations or expanded 4-bit weights, the heap then fragments, and a step takes as much
    memory as without the saving.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option:  # glibc only
        set_option(_MMAP_THRESHOLD, _LARGE)
