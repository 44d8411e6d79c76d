"""C compiled by the machine's own compiler when first needed; where there is none, only speed is lost.

The library is built for this very processor in a folder of its own, loaded, and its file deleted: there is no
cache that another user could write to, and nothing to clear when source or processor change.
"""

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

_FLAGS = ("-std=gnu11", "-O2", "-march=native", "-fopenmp", "-fno-math-errno", "-fPIC", "-shared")
_PATIENCE_SECONDS = 120


@cache
def compiled(source: Path) -> ctypes.CDLL | None:
    """The library made of a C file, or None where it cannot be made: no compiler, no OpenMP."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="hypo-") as folder:
            library = Path(folder) / "library.so"
            command = [*compiler, *_FLAGS, str(source), "-o", str(library), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE_SECONDS)
            return ctypes.CDLL(str(library))
    except (subprocess.SubprocessError, OSError):
        return None
