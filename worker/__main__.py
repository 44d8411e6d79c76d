"""`python -m worker --queues train,generate`: one worker process."""

import argparse
import os
import sys

from app.artifacts import check_store
from app.dispatch import QUEUES
from app.environment import keep_private
from app.errors import AppError
from app.local.parent_watch import watch_parent
from app.streams import drop_what_cannot_be_written


def main() -> None:
    """Start a Celery worker for the named queues and stay until it is told to go."""
    keep_private()
    drop_what_cannot_be_written()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", default=",".join(QUEUES))
    queues = parser.parse_args().queues
    os.environ["HYPO_WORKER_QUEUES"] = queues
    # before torch is loaded: threads that spin while they wait starve the other worker of its cores
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
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
