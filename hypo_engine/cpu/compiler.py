"""C code compiled by the machine's compiler on first use; without a compiler the engine is slower but works.

Libraries are kept in the user's cache folder, under a name that follows from the sources, the flags, the
compiler and the processor. The folder is used only if nobody but this user can write to it: a library from it
is run. Without such a folder each process compiles in a temporary folder that it deletes.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

_FLAGS = ("-std=gnu11", "-O2", "-march=native", "-fopenmp", "-fno-math-errno", "-fPIC", "-shared")
_PATIENCE_SECONDS = 120


@cache
def compiled(file: str | Path) -> ctypes.CDLL | None:
    """The library compiled from a C file, by its name in this folder; None without a compiler or OpenMP."""
    source = Path(__file__).parent / file
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        return None
    try:
        kept = _kept_file(source, compiler)
        return _opened(kept) or _built(source, compiler, kept)
    except (subprocess.SubprocessError, OSError):
        return None


def _opened(library: Path | None) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(library)) if library is not None and library.exists() else None
    except OSError:  # damaged; the caller compiles it again
        return None


def _built(source: Path, compiler: list[str], kept: Path | None) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(prefix="hypo-") as folder:
        library = Path(folder) / "library.so"
        _run([*compiler, *_FLAGS, str(source), "-o", str(library), "-lm"])
        found = ctypes.CDLL(str(library))
        if kept is not None:
            with suppress(OSError):  # no space, say: the next process compiles it again
                _keep(library.read_bytes(), kept)
        return found


def _keep(content: bytes, library: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=library.parent, prefix=".", delete=False) as partial:
        try:
            partial.write(content)
            partial.flush()
            os.fsync(partial.fileno())
            Path(partial.name).replace(library)
        except OSError:
            Path(partial.name).unlink(missing_ok=True)
            raise


def _kept_file(source: Path, compiler: list[str]) -> Path | None:
    """Where the library of these sources is kept; None if it cannot be kept safely."""
    processor = _processor()
    folder = _private_folder()
    if not processor or folder is None:
        return None
    inputs = [processor, _run([*compiler, "--version"]), *(word.encode() for word in (*compiler, *_FLAGS))]
    inputs += [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in inputs)).hexdigest()
    return folder / f"{source.stem}-{digest[:32]}.so"


def _processor() -> bytes:
    """What ``-march=native`` depends on; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return b""
    told = {line for line in lines if line.startswith((b"model name", b"flags", b"Features", b"CPU part"))}
    return b"\n".join([platform.machine().encode(), *sorted(told)]) if told else b""


def _private_folder() -> Path | None:
    """The cache folder, made if missing; None if it is not this user's or if others can write to it."""
    try:
        folder = Path.home() / ".cache" / "hypo-studio" / "kernels"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return None
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    is_private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not others_write
    return folder if is_private else None


def _run(command: list[str]) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE_SECONDS).stdout
