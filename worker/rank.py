"""Another process of a run that several devices train: `python -m worker.rank JOB`.

The worker that has the run starts it, and is the main process. This one reports nothing and writes nothing.
"""

import os
import sys
from pathlib import Path

os.environ["HYPO_WATCH_PARENT"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

from app.local.parent_watch import watch_parent
from hypo_engine.distributed.devices import member
from hypo_engine.reporting import SilentReporter
from worker.engine_job import EngineJob
from worker.retry import retry_read


def main(arguments: list[str]) -> None:
    """Train until the run ends, fails or is stopped, or the main process ends."""
    watch_parent()
    job = EngineJob.described_by(Path(arguments[0]))
    with member():
        job.run(SilentReporter(), retry_read)


if __name__ == "__main__":
    main(sys.argv[1:])
