"""Recognises a full disk, and explains it in a sentence.

Only plain Python reports it with an errno. safetensors raises its own error with the system's message in
the text, and torch raises an unspecific RuntimeError whose cause is set only if a Python file was written.
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
    """Turn an error of a full disk into an EngineError; ``folder`` is the target of the write.

    Use it inside the code that deletes the incomplete file, because it checks the free space.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if (sentence := no_room(error, folder)) is None:
            raise
        raise EngineError(sentence) from error


def no_room(error: BaseException, folder: Path | None = None) -> str | None:
    """The sentence for an error of a full disk, a quota or a file size limit; None for any other error.

    Args:
        folder: The target of the write; without it the free space is not checked.
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
