"""How much memory this machine has to spare. No torch here."""

import os
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def free_memory(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Bytes that programs can still take, a container's limit included; None where nobody says."""
    known = [found for found in (_of_system(meminfo), _of_group(group)) if found is not None]
    return min(known) if known else None


def _of_system(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _of_group(group: Path) -> int | None:
    """What a control group leaves: its limit less what it holds and cannot give back."""
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
