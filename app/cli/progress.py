"""Live progress bars of runs and campaigns in the terminal, and the table of results at the end."""

import threading
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from app import campaigns
from app.cli.output import plain
from app.store import run_dependencies, run_lists, runs
from app.store.db import read_session
from app.store.models import Run
from hypo_engine.measures import HEADLINES

console = Console(highlight=False)


def follow(run_ids: Sequence[int], *, stopped: Callable[[], bool] = lambda: False) -> None:
    """Draw a bar for each run until all are over or `stopped()` is true."""
    with _bars() as progress:
        tasks = {run_id: progress.add_task(f"run {run_id}", total=None, phase="") for run_id in run_ids}
        while not stopped():
            with read_session() as session:
                found = [runs.get(run_id, session=session) for run_id in run_ids]
                places = run_lists.places_in_queue(found, session=session)
                awaited = run_dependencies.awaited(found, session=session)
            for run in found:
                _draw(progress, tasks[run.id], run, places.get(run.id), awaited.get(run.id))
            if all(run.status.is_over for run in found):
                return
            time.sleep(0.5)


def _bars() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn(
            "{task.fields[phase]}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        console=console,
        refresh_per_second=4,
        expand=True,
    )


def _draw(progress: Progress, task: TaskID, run: Run, place: int | None, awaited: Run | None) -> None:
    if run.started_at is None:
        progress.reset(task, start=False)
    elif not progress.tasks[task].started:
        progress.start_task(task)
    phase = f"{run.status.value}, place {place}" if place else run.phase or run.status.value
    if awaited is not None:
        phase = f"{run.status.value}, waits for run {awaited.id}"
    left = runs.seconds_left(run)
    if left is not None:
        phase += f", {_left(left)}"
    progress.update(
        task,
        description=plain(run.name[:22]).plain,
        completed=run.step,
        total=run.total_steps or None,
        phase=phase,
    )
    if run.status.is_over:
        progress.stop_task(task)


def _left(seconds: float) -> str:
    return f"{seconds / 60:.1f} min left" if seconds > 90 else f"{seconds:.0f} s left"


def follow_answers(campaign_id: int, *, stopped: Callable[[], bool] = lambda: False) -> None:
    """Draw a bar of a campaign's answers until all are written or `stopped()` is true."""
    with _bars() as progress:
        task = progress.add_task("answers", total=None, phase="")
        while not stopped():
            found = campaigns.overview(campaign_id).progress
            phase = "" if found.seconds_left is None else _left(found.seconds_left)
            progress.update(task, completed=found.answered, total=found.answers, phase=phase)
            if not found.unwritten:
                return
            time.sleep(0.5)


def results_table(run_ids: Sequence[int]) -> Table:
    """The results of runs: accuracy, margin and sampled KL on held-out data, and minutes."""
    headers = ["run", "state", *(measure.label for measure in HEADLINES), "minutes"]
    table = Table(*headers, box=None, header_style="bold")
    with read_session() as session:
        for run_id in run_ids:
            run = runs.get(run_id, session=session)
            last = runs.final_metrics(run_id, session=session)
            table.add_row(
                plain(run.name),
                run.status.value,
                *(measure.text(last) for measure in HEADLINES),
                _minutes(run),
            )
    return table


def _minutes(run: Run) -> str:
    if run.started_at is None or run.finished_at is None:
        return "-"
    return f"{(run.finished_at - run.started_at).total_seconds() / 60:.1f}"


class BackgroundFollow(threading.Thread):
    """Run `follow` in a thread, then call `after`, while the main thread does other work."""

    def __init__(self, run_ids: Sequence[int], after: Callable[[], None]) -> None:
        super().__init__(name="follow", daemon=True)
        self._run_ids = run_ids
        self._after = after
        self._stopped = threading.Event()

    def run(self) -> None:
        follow(self._run_ids, stopped=self._stopped.is_set)
        if not self._stopped.is_set():
            self._after()

    def stop(self) -> None:
        """Stop drawing and restore the terminal."""
        self._stopped.set()
        self.join(timeout=2)
