"""`python -m study`: do what is not done yet, then write the report."""

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.errors import AppError
from app.settings import get_settings
from hypo_engine.errors import EngineError
from study.execution import RunFailed, Stopped
from study.options import parse
from study.plan import Plan, quick, rates
from study.regimes import TooFewPairs
from study.report import PAGE, write_report
from study.runner import Study


def main(arguments: Sequence[str]) -> int:
    """Run the study and return the exit status."""
    options = parse(arguments)
    data = options.out or get_settings().root / ("study-quick" if options.quick else "study")
    plan, folder = quick(options.model) if options.quick else Plan(), data
    if options.rates:
        plan, folder = rates(options.rates), data / "rates"
    try:
        if not options.report:
            Study(plan, folder, data, say).run(minutes=options.minutes)
        report = write_report(folder, plan, machine())
    except (KeyboardInterrupt, Stopped):
        print("Stopped. Start it again to go on.", file=sys.stderr)
        return 130
    except (AppError, EngineError, RunFailed, TooFewPairs) as error:
        print(f"study: {error}", file=sys.stderr)
        return 1
    say(f"{report['done']} of {report['planned']} runs are done. The report is {folder / PAGE}.")
    for hypothesis in report["hypotheses"]:
        say("{key} {verdict}: {text}".format_map(hypothesis).replace("_", " "))
    return 0


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def machine() -> dict[str, Any]:
    """What the numbers of seconds and memory belong to."""
    cpu = Path("/proc/cpuinfo")
    names = (
        [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
        if cpu.exists()
        else []
    )
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
