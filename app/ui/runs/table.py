"""Runs as a table."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from sqlalchemy.orm import Session

from app.store import run_dependencies, run_lists, runs
from app.store.enums import RunStatus
from app.store.models import Run
from app.ui import formatting, widgets
from app.ui.widgets import Html
from hypo_engine.measures import ACCURACY, KL


def run_table(found: Sequence[Run], *, filtered: bool, session: Session) -> Html:
    """A table of runs with a checkbox for each."""
    if not found:
        return _nothing(filtered)
    rows = []
    stands = standings(found, session=session)
    over = [run.id for run in found if run.status.is_over]
    reached = run_lists.final_metrics(over, session=session)
    for run in found:
        box = Markup(
            '<input type="checkbox" class="hy-tick" data-run="{}" aria-label="Choose run {}">'
        ).format(run.id, run.id)
        who = Markup('{}<br><span class="hy-note">#{}{}</span>').format(
            widgets.link(run.name, "run", id=run.id), run.id, " · twin" if run.twin_group else ""
        )
        rows.append(
            (
                box,
                who,
                widgets.method_badge(run.method),
                widgets.status_badge(run.status),
                progress(run, stands.get(run.id)),
                _reached(reached.get(run.id, {})),
                Markup("{} <span class='hy-note'>v{}</span>").format(
                    formatting.clip(run.dataset.name, 40), run.dataset.version
                ),
                formatting.ago(run.created_at),
            )
        )
    choose = Markup('<span class="hy-sr">Choose</span>')
    return widgets.table(
        [choose, "Run", "Method", "State", "Progress", ACCURACY.label, "Dataset", "Launched"],
        rows,
        caption="Runs, newest first",
    )


def _reached(last: Mapping[str, float]) -> Html:
    """Held-out accuracy and KL, each with its count or standard error."""
    if ACCURACY.metric not in last and KL.metric not in last:
        return Markup("–")
    return Markup('{}<br><span class="hy-note">KL {}</span>').format(ACCURACY.text(last), KL.text(last))


def standings(found: Sequence[Run], *, session: Session) -> dict[int, Html]:
    """The place in the queue of each queued run, or the run that it waits for."""
    places = run_lists.places_in_queue(found, session=session)
    awaited = run_dependencies.awaited(found, session=session)
    said = {run_id: Markup("place {} in the queue").format(place) for run_id, place in places.items()}
    for run_id, other in awaited.items():
        said[run_id] = Markup("waits for {}").format(widgets.link(f"run {other.id}", "run", id=other.id))
    return said


def progress(run: Run, standing: Html | None) -> Html:
    """A run's progress in a table cell: where it stands in the queue, a progress bar, or its outcome."""
    if run.status is RunStatus.QUEUED:
        return standing or Markup("in the queue")
    if run.status is RunStatus.FAILED:
        return Markup('<span class="hy-why" title="{}">{}</span>').format(
            run.error, formatting.clip(run.error or "", 90)
        )
    if run.status is RunStatus.FINISHED:
        took = (
            (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
        )
        return Markup("{} in {}").format(formatting.count(run.step, "step"), formatting.duration(took))
    if run.status is RunStatus.CANCELLED and run.started_at is None:
        return Markup("not started")
    live = run.status is RunStatus.RUNNING
    return widgets.progress_bar(run.step, run.total_steps, seconds_left=runs.seconds_left(run), live=live)


def _nothing(filtered: bool) -> Html:
    if filtered:
        return widgets.empty_state(
            "No run matches", "Loosen the filters above.", widgets.link_button("Show all runs", "runs")
        )
    return widgets.empty_state(
        "No runs yet",
        "A run trains a model on a dataset of preference pairs. Twins train several methods side by side.",
        widgets.link_button("Launch a run", "launch", primary=True),
    )
