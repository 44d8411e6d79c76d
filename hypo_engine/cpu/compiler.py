"""C code compiled by the machine's compiler on first use; without a compiler the engine is slower but works.

The library is built for this processor in a temporary folder, loaded, and then deleted. No other user can
tamper with a cached file, and nothing becomes stale when the source or the processor changes.
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
    """The library compiled from a C file; None without a compiler or without OpenMP."""
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
