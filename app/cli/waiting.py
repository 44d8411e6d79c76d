"""Where launched runs stand, and waiting until they are over."""

import sys
import time
from typing import Any

from app.cli.output import print_json, say
from app.dispatch import TRAIN_QUEUE
from app.errors import Refused
from app.presence import worker_missing
from app.store import runs
from app.store.db import read_session
from app.views import run_views


def report_runs(run_ids: list[int], *, wait: bool, as_json: bool) -> None:
    """Print where runs stand, with `wait` once they are over.

    Raises:
        Refused: a run that was waited for failed or was cancelled, or no worker was left.
    """
    if wait:
        _wait(run_ids, quiet=as_json or not sys.stderr.isatty())
    with read_session() as session:
        views = run_views([runs.get(run_id, session=session) for run_id in run_ids], session=session)
    if as_json:
        print_json(views)
    else:
        for view in views:
            say(f"Run {view['id']}: {view['name']}, {stands(view)}")
    bad = [view for view in views if view["status"] in ("failed", "cancelled")]
    if wait and bad:
        raise Refused(
            "; ".join(f"run {view['id']} {view['status']}: {view['error'] or 'on request'}" for view in bad)
        )


def stands(view: dict[str, Any]) -> str:
    """A run's state, with its place in the queue or the run that it waits for."""
    if view["waits_for"]:
        return f"{view['status']}, waits for run {view['waits_for']}"
    place = f", place {view['place_in_queue']} in the queue" if view["place_in_queue"] else ""
    return f"{view['status']}{place}"


def _wait(run_ids: list[int], *, quiet: bool) -> None:
    from app.cli.progress import follow

    watch = WorkerWatch()
    if not quiet:
        follow(run_ids, stopped=lambda: watch.gone)
    else:
        while not (_all_over(run_ids) or watch.gone):
            time.sleep(0.3)
    if not _all_over(run_ids):
        raise Refused(f"The worker is gone and no other one has started. The runs wait: {watch.sentence}")


class WorkerWatch:
    """Checks every few seconds for a worker of a queue. `gone` is true after a minute without one."""

    def __init__(self, queue: str = TRAIN_QUEUE) -> None:
        self.queue = queue
        self.sentence = ""
        self._looked_at = self._seen_at = time.monotonic()

    @property
    def gone(self) -> bool:
        now = time.monotonic()
        if now - self._looked_at > 5:
            self._looked_at = now
            self.sentence = worker_missing(self.queue) or ""
            if not self.sentence:
                self._seen_at = now
        return now - self._seen_at > 60


def _all_over(run_ids: list[int]) -> bool:
    with read_session() as session:
        return all(runs.get(run_id, session=session).status.is_over for run_id in run_ids)
