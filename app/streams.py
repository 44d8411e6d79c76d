"""Standard output and error of a process that goes on when they cannot be written, as on a full disk."""

import io
import os
import sys
from typing import Any


class _Dropping(io.RawIOBase):
    """Writes to a file descriptor; what it does not take is dropped."""

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
    """From now on a line of the log that cannot be written is dropped, instead of raised at who logs."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            descriptor = stream.fileno()
        except (AttributeError, OSError, ValueError):  # none, or one of a test
            continue
        buffer = io.BufferedWriter(_Dropping(descriptor))
        dropping = io.TextIOWrapper(
            buffer, encoding=stream.encoding, errors="backslashreplace", write_through=True
        )
        setattr(sys, name, dropping)
