"""What a write that finds no room raises, and the sentence for it.

Only plain Python says so with an errno: safetensors raises an error of its own with the system's words in
its text, and torch a RuntimeError that says nothing, with the cause (if a Python file was written) behind it.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from hypo_engine.errors import EngineError, disk_full

_FULL = disk_full("make room and start the run again")
_TOO_LARGE = "A file is larger than the system allows here; raise the limit and start the run again."
_SENTENCES = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EFBIG: _TOO_LARGE}
_WORDS = {"No space left": _FULL, "StorageFull": _FULL, "File too large": _TOO_LARGE} | {
    f"(os error {number})": sentence for number, sentence in _SENTENCES.items()
}
_AS_GOOD_AS_FULL = 4 * 2**20


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what a full disk raises into an EngineError; ``folder`` is where is written.

    Use it inside whatever deletes the torn file: the room that is left is looked at.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if (sentence := no_room(error, folder)) is None:
            raise
        raise EngineError(sentence) from error


def no_room(error: BaseException, folder: Path | None = None) -> str | None:
    """The sentence for an error that comes of a full disk, a quota or a limit; None for any other.

    Args:
        folder: Where was written; without it the room that is left is not looked at.
    """
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in _SENTENCES:
            return _SENTENCES[behind.errno]
        if isinstance(behind, SafetensorError):
            for words, sentence in _WORDS.items():
                if words in str(behind):
                    return sentence
        behind = behind.__cause__ or behind.__context__
    silent = isinstance(error, SafetensorError) or type(error) is RuntimeError
    return _FULL if silent and folder is not None and _free(folder) < _AS_GOOD_AS_FULL else None


def _free(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
