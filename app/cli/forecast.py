"""The output of `hypo runs launch --forecast`."""

from collections.abc import Mapping
from typing import Any

from app.cli.output import print_json, print_table, say, warn
from hypo_engine.memory.estimate import format_bytes


def show_forecast(view: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what the runs of a launch would take, as a table with a sum or as JSON."""
    if as_json:
        print_json(view)
        return
    rows = [
        (run["title"], run["steps"], _memory(run), run["disk"] and format_bytes(run["disk"]["bytes"]))
        for run in view["runs"]
    ]
    print_table(["run", "steps", "memory at the peak", "checkpoints"], rows, empty="")
    for sentence in sorted({run["unknown"] for run in view["runs"] if run["unknown"]}):
        warn(sentence)
    disk = view["disk"]
    if disk is None:
        return
    free = "" if disk["free_bytes"] is None else f"; {format_bytes(disk['free_bytes'])} are free"
    noun = "checkpoint" if disk["checkpoints"] == 1 else "checkpoints"
    (say if disk["fits"] else warn)(f"{disk['checkpoints']} {noun}: {format_bytes(disk['bytes'])}{free}.")


def _memory(run: Mapping[str, Any]) -> str:
    if run["memory_bytes"] is None:
        return "unknown"
    size = format_bytes(run["memory_bytes"])
    return size if run["fits"] else f"{size}, of {format_bytes(run['available_bytes'])}: too much"
