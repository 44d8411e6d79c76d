"""Workers that skip training: a run takes a moment, so tests observe only the claims and their times.

Run it as `CLAIMERS=8 python -m tests.integration.claimers --queues train` to fork that many worker
processes, which share their loaded modules.
"""

import os
import secrets
import time

from worker import __main__ as worker_main
from worker import engine_job, identity

TRAINING_SECONDS = 0.05


def take_a_moment(*_: object, **__: object) -> None:
    """Replaces training."""
    time.sleep(TRAINING_SECONDS)


if __name__ == "__main__":
    engine_job.train = take_a_moment  # type: ignore[assignment]
    for _ in range(int(os.environ["CLAIMERS"])):
        if os.fork() == 0:
            identity.TOKEN = secrets.token_hex(4)
            worker_main.main()
            os._exit(0)
    while True:
        os.wait()
