"""Runs as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from sqlalchemy.orm import Session

from app import run_columns
from app.i18n import _, _html, in_language
from app.run_columns import Column
from app.store import run_dependencies, run_lists, run_tags, runs
from app.store.enums import RunStatus
from app.store.models import Run
from app.templates import render
from app.ui import formatting, widgets
from app.ui.widgets import Html


def run_table(
    found: Sequence[Run],
    *,
    filtered: bool,
    session: Session,
    columns: Sequence[str] = run_columns.SHOWN,
    order: str = run_columns.NEWEST,
) -> Html:
    """A table of runs with a checkbox for each, sorted by `order`; its heads sort it by another column."""
    if not found:
        return _nothing(filtered)
    ids = [run.id for run in found]
    stands = standings(found, session=session)
    reached = run_lists.final_metrics(ids, session=session)
    tags = run_tags.of_runs(ids, session=session)
    shown = run_columns.chosen(columns)
    rows = []
    for run in found:
        cells = _Cells(run, stands.get(run.id), reached.get(run.id, {}), tags[run.id])
        rows.append([_box(run), *(cells.of(column) for column in shown)])
    choose = Markup('<span class="hy-sr">{}</span>').format(_("Choose"))
    table = widgets.table(
        [choose, *(_head(column, order) for column in shown)],
        rows,
        caption=_caption(order),
        numeric=[at for at, column in enumerate(shown, start=1) if column.key in _NUMERIC],
    )
    return widgets.join([_sorting(order), table])


_NUMERIC = frozenset({"steps", "seconds", "seed"})


def _box(run: Run) -> Html:
    return Markup('<input type="checkbox" class="hy-tick" data-run="{}" aria-label="{}">').format(
        run.id, _("Choose run {id}", id=run.id)
    )


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of a run's row."""

    run: Run
    standing: Html | None
    last: Mapping[str, float]
    tags: Sequence[str]

    def of(self, column: Column) -> object:
        if column.measure is not None:
            return column.measure.text(self.last)
        return getattr(self, f"_{column.key}")()

    def _name(self) -> Html:
        run = self.run
        more = f" · {_('twin')}" if run.twin_group else ""
        more += f" · {_('archived')}" if run.archived_at else ""
        return Markup('<div class="hy-run-name">{}<br><span class="hy-note">#{}{}</span></div>').format(
            widgets.link(run.name, "run", id=run.id), run.id, more
        )

    def _method(self) -> Html:
        return widgets.run_badge(self.run)

    def _state(self) -> Html:
        return widgets.status_badge(self.run.status)

    def _progress(self) -> Html:
        return progress(self.run, self.standing)

    def _steps(self) -> str:
        return f"{self.run.step:,}"

    def _seconds(self) -> str:
        return formatting.duration(seconds(self.run))

    def _dataset(self) -> Html:
        dataset = self.run.dataset
        return Markup("{} <span class='hy-note'>v{}</span>").format(
            formatting.clip(dataset.name, 40), dataset.version
        )

    def _model(self) -> str:
        return formatting.clip(self.run.base_model, 40)

    def _seed(self) -> str:
        return str(self.run.seed)

    def _tags(self) -> Html:
        return widgets.tag_chips(self.tags)

    def _launched(self) -> Html:
        return formatting.ago(self.run.created_at)


def seconds(run: Run) -> float | None:
    """How long a run took, from its first start to its end."""
    if run.started_at is None or run.finished_at is None:
        return None
    return (run.finished_at - run.started_at).total_seconds()


def _head(column: Column, order: str) -> object:
    """A column's title: a button that sorts by it, and then the other way."""
    title = _(column.title)
    if not column.sortable:
        return title
    present = order.removeprefix("-") == column.key
    descends = order.startswith("-")
    following = ("" if descends else "-") if present else "-" if column.descends else ""
    mark = ("▼" if descends else "▲") if present else ""
    button = Markup(
        '<button type="button" class="hy-sort" data-sort="{}">{}<i aria-hidden="true">{}</i></button>'
    ).format(following + column.key, title, mark)
    if not present:
        return widgets.Head(title, button)
    return widgets.Head(title, button, "descending" if descends else "ascending")


def _caption(order: str) -> str:
    """What the table shows and how it is sorted, in words."""
    if order == run_columns.NEWEST:
        return _("Runs, newest first")
    title = _(run_columns.BY_KEY[order.removeprefix("-")].title)
    if order.startswith("-"):
        return _("Runs, sorted by {column}, largest first", column=title)
    return _("Runs, sorted by {column}, smallest first", column=title)


def _sorting(order: str) -> Html:
    """The order as a list, for a narrow window, where the table has no heads."""
    keys = [("-" if run_columns.BY_KEY[key].descends else "") + key for key in run_columns.SORTABLE]
    others = [] if order in keys else [order]
    choices = [
        (key, _(run_columns.BY_KEY[key.removeprefix("-")].title) + _way(key)) for key in (*others, *keys)
    ]
    return render("runs/sorting.html", choices=choices, order=order)


def _way(key: str) -> str:
    return " ↓" if key.startswith("-") else " ↑"


def standings(found: Sequence[Run], *, session: Session) -> dict[int, Html]:
    """The place in the queue of each queued run, or the run that it waits for."""
    places = run_lists.places_in_queue(found, session=session)
    awaited = run_dependencies.awaited(found, session=session)
    said = {run_id: _html("place {n} in the queue", n=place) for run_id, place in places.items()}
    for run_id, other in awaited.items():
        link = widgets.link(_("run {id}", id=other.id), "run", id=other.id)
        said[run_id] = _html("waits for {run}", run=link)
    return said


def progress(run: Run, standing: Html | None) -> Html:
    """A run's progress in a table cell: where it stands in the queue, a progress bar, or its outcome."""
    if run.status is RunStatus.QUEUED:
        return standing or _html("in the queue")
    if run.status is RunStatus.FAILED:
        why = in_language(run.error or "")
        return Markup('<span class="hy-why" title="{}">{}</span>').format(why, formatting.clip(why, 90))
    if run.status is RunStatus.FINISHED:
        took = formatting.duration(seconds(run))
        return _html("{steps} in {time}", steps=formatting.count(run.step, "step"), time=took)
    if run.status is RunStatus.CANCELLED and run.started_at is None:
        return _html("not started")
    live = run.status is RunStatus.RUNNING
    return widgets.progress_bar(run.step, run.total_steps, seconds_left=runs.seconds_left(run), live=live)


def _nothing(filtered: bool) -> Html:
    if filtered:
        return widgets.empty_state(
            _("No run matches"),
            _("Loosen the filters above."),
            widgets.link_button(_("Show all runs"), "runs"),
        )
    return widgets.empty_state(
        _("No runs yet"),
        _("A run trains a model on a dataset of preference pairs. Twins train several methods side by side."),
        widgets.link_button(_("Launch a run"), "launch", primary=True),
    )
