"""What an estimate asks of this machine: its memory, and whether it multiplies bfloat16. No torch here."""

import os
import shlex
import shutil
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_PROCESSOR = Path("/proc/cpuinfo")
_AMX = frozenset({"amx_bf16", "avx512_bf16"})


def available_bytes(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Available bytes within the machine's and the container's limit; None if unknown."""
    return _least(_of_system(meminfo, "MemAvailable:", "SC_AVPHYS_PAGES"), _of_group(group, held=True))


def whole_memory(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Total bytes of the machine or the container; None if unknown."""
    return _least(_of_system(meminfo, "MemTotal:", "SC_PHYS_PAGES"), _of_group(group, held=False))


def has_amx(processor: Path = _PROCESSOR) -> bool:
    """Whether the processor says that it multiplies bfloat16 tiles, and there is a compiler for that."""
    if shutil.which(shlex.split(os.environ.get("CC") or "cc")[0]) is None:
        return False
    try:
        lines = processor.read_text().splitlines()
    except (OSError, ValueError):
        return False
    return any(_AMX.issubset(line.split()) for line in lines if line.startswith("flags"))


def _least(*found: int | None) -> int | None:
    return min((count for count in found if count is not None), default=None)


def _of_system(meminfo: Path, line_start: str, pages: str) -> int | None:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith(line_start):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _of_group(group: Path, *, held: bool) -> int | None:
    """A cgroup's limit minus its unreclaimable memory."""
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit == "max":
            return None
        if not held:
            return int(limit)
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
