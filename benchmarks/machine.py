"""Description of the machine and the libraries, without host names or paths."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.children import total_memory

_TELLING = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")
_LIBRARIES = ("torch", "transformers", "peft", "trl")

DATA_SHEET = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L4": 121e12}
"""Dense bfloat16 operations per second by a part of the GPU's name. The first match is used."""


def machine(device: dict[str, Any], threads: int) -> dict[str, str]:
    """The machine and the libraries; ``device`` is the result of that measurement."""
    found = {
        "cores": str(threads),
        "memory": f"{total_memory() / 2**30:.0f} GiB",
        "processor": f"{platform.machine()} with {', '.join(_flags()) or 'no known extensions'}",
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }
    if device["type"] == "cuda":
        found["accelerator"] = device["name"]
    return found


def peak_operations(accelerator: str) -> float | None:
    """The vendor's peak rate; None for an unlisted GPU."""
    return next((peak for part, peak in DATA_SHEET.items() if part in accelerator), None)


def _flags() -> list[str]:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return []
    lines = info.read_text(encoding="ascii", errors="replace").splitlines()
    line = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return [flag for flag in _TELLING if flag in line.split()]
