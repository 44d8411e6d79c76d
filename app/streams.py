"""Standard output and error that never fail a process, even when the disk is full."""

import io
import os
import sys
from typing import Any


class _Dropping(io.RawIOBase):
    """Writes to a file descriptor and drops data that cannot be written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        try:
            return os.write(self._descriptor, data)
        except OSError:
            return len(data)


def drop_what_cannot_be_written() -> None:
    """Make standard output and error drop lines that cannot be written, instead of raising an error."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            descriptor = stream.fileno()
        except (AttributeError, OSError, ValueError):  # there is no stream, or a test replaced it
            continue
        buffer = io.BufferedWriter(_Dropping(descriptor))
        dropping = io.TextIOWrapper(
            buffer, encoding=stream.encoding, errors="backslashreplace", write_through=True
        )
        setattr(sys, name, dropping)
