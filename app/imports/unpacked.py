"""Reading of plain or gzipped files, with a limit on the unpacked bytes."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from app.errors import InvalidInput, NotFound

GZIP_MAGIC = b"\x1f\x8b"
PEEK_BYTES = 1024 * 1024


def bad_file(message: str) -> InvalidInput:
    """The error for a file that is unusable as a whole."""
    return InvalidInput(message, field="file")


class Budget:
    """The unpacked bytes that one import may read, shared by all its files."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._left = limit

    def spend(self, count: int) -> None:
        """Subtract bytes from the budget.

        Raises:
            InvalidInput: the budget is exceeded.
        """
        self._left -= count
        if self._left < 0:
            raise bad_file(
                f"The data is larger than {self.limit // 2**20} MiB unpacked. "
                "Split it, or raise HYPO_MAX_UPLOAD_MB."
            )


class _Counted(io.RawIOBase):
    """Reads from another stream and spends a budget, which stops a gzip bomb early."""

    def __init__(self, inner: IO[bytes], budget: Budget) -> None:
        self._inner = inner
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self._inner.read(len(buffer))
        except EOFError:
            raise bad_file("The gzip file ends early. Copy or download it again.") from None
        except (gzip.BadGzipFile, zlib.error):
            raise bad_file("The gzip file is damaged. Copy or download it again.") from None
        self._budget.spend(len(data))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def open_unpacked(path: Path, budget: Budget) -> Iterator["io.BufferedReader[Any]"]:
    """Open a plain or gzipped file for reading in one pass.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file cannot be opened, or, while reading, it is damaged or exceeds the budget.
    """
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    try:
        file = path.open("rb")
    except OSError as error:
        raise bad_file(f"The file {path.name} cannot be opened: {error.strerror}.") from error
    with file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        inner: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
        with io.BufferedReader(_Counted(inner, budget), PEEK_BYTES) as stream:
            yield stream
