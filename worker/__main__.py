"""`python -m worker --queues train,generate`: one worker process."""

import argparse
import os
import sys

from app import endpoints
from app.artifacts import check_store
from app.dispatch import ENDPOINTS_QUEUE, QUEUES
from app.environment import keep_private
from app.errors import AppError
from app.local.parent_watch import watch_parent
from app.streams import drop_what_cannot_be_written


def main() -> None:
    """Run a Celery worker for the named queues until it is told to stop."""
    keep_private()
    drop_what_cannot_be_written()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", default=",".join(QUEUES))
    queues = parser.parse_args().queues
    os.environ["HYPO_WORKER_QUEUES"] = queues
    # set before torch is imported: OpenMP threads that spin while idle starve the other worker
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        if set(queues.split(",")) == {ENDPOINTS_QUEUE}:
            endpoints.configured()
        else:
            check_store()
    except AppError as error:
        sys.exit(f"hypo: {error}")
    from worker.celery_app import app, name, own_queue

    watch_parent()
    app.worker_main(
        [
            "worker",
            f"--queues={queues},{own_queue.name}",
            f"--hostname={name.replace(',', '-')}",
            "--loglevel=INFO",
            "--without-gossip",
            "--without-mingle",
        ]
    )


if __name__ == "__main__":
    main()
