"""The runs page: list and overlay. The address stores filters, order and selection: `runs?compare=3,4`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import gradio as gr

from app import run_columns
from app.i18n import _
from app.store import datasets, run_tags, runs
from app.store.db import read_session
from app.store.enums import RunStatus, Shelf
from app.store.models import Run
from app.text import clean_text, read_id
from app.ui import confirmation, events, paging, query, tabs
from app.ui.runs import chosen
from app.ui.runs.layout import ALL, Layout, Overlay, lay_out
from app.ui.runs.overlay import draw, redraw
from app.ui.runs.table import run_table
from app.ui.updates import Components, Updates, connect, named, pick
from hypo_engine.config import Method

PAGE_ROWS = 50
Seen = tuple[Any, ...]
_USUAL = ",".join(run_columns.SHOWN)

_ADDRESS = f"""(name, method, status, dataset, tag, show, columns, sort) => hySetQuery({{
  name, method, status, dataset, tag, page: '',
  show: show === '{Shelf.CURRENT}' ? '' : show,
  columns: columns.join(',') === '{_USUAL}' ? '' : columns.join(',') || 'none',
  sort: sort === '{run_columns.NEWEST}' ? '' : sort,
}})"""
_PLACE = "(page) => hySetQuery({ page: page > 0 ? String(page + 1) : '' })"
_COMPARE = """(ids) => {
  hySetQuery({ compare: ids }, true);
  setTimeout(() => document.querySelector('#overlay')?.scrollIntoView({ behavior: 'smooth' }), 700);
}"""
_TO_TOP = """(...given) => {
  document.querySelector('#runs-table')?.scrollIntoView({ block: 'start' });
  return given;
}"""
_CLONE = "(ids) => { window.location.href = 'launch?clone=' + ids.split(',')[0]; }"


def build() -> None:
    """Lay out the page, then wire its events."""
    page = lay_out()
    timer = gr.Timer(events.BUSY_SECONDS)
    listed = {"table": page.table, "seen": page.seen, "timer": timer, **page.pager.outputs}
    buttons = {**named(page.buttons), "tagging": page.tagging.tagging}
    _wire_opening(page, {**listed, **buttons})
    _wire_list(page, listed, buttons)
    _wire_overlay(page, listed, timer)
    _wire_actions(page, listed, buttons)


def _wire_opening(page: Layout, listed: Components) -> None:
    """The list and the overlay below it appear together; a later list would push the overlay down."""
    outputs = {**named(page.filters), "chosen": page.chosen, **listed, **_curves(page.overlay)}
    connect(events.on_load, open_page, [page.kept, *page.overlay.how], outputs)


def _curves(overlay: Overlay) -> Components:
    names = "overlaid", "key", "few", "panel", "config", "frontier", "evaluated", "drawn"
    return pick(named(overlay), *names)


def _wire_list(page: Layout, listed: Components, buttons: Components) -> None:
    filters, pager = page.filters.inputs, page.pager
    for button, turn in ((pager.back, newer), (pager.on, older)):
        turned = connect(button.click, turn, [pager.page, *filters], listed, js=_TO_TOP, **events.QUIET)
        turned.then(None, pager.page, None, js=_PLACE)
    typed = partial(gr.on, page.filters.edited)
    changed = connect(typed, relist, filters, listed, trigger_mode="always_last", **events.QUIET)
    changed.then(None, filters, None, js=_ADDRESS)
    choice = [page.filters.columns.input, page.filters.sort.input]
    gr.on(choice, keep, [page.filters.columns, page.filters.sort], page.kept, **events.QUIET)
    connect(page.chosen.change, chosen.enable, page.chosen, buttons, **events.QUIET)


def _wire_overlay(page: Layout, listed: Components, timer: gr.Timer) -> None:
    overlay, filters = page.overlay, page.filters.inputs
    curves, how = _curves(overlay), overlay.how
    looked_at = [page.pager.page, page.seen, *how, overlay.drawn, *filters]
    connect(partial(events.tick, timer), look_again, looked_at, {**listed, **curves})
    connect(partial(gr.on, [field.input for field in how]), draw, how, curves, **events.QUIET)
    compared = page.buttons.overlay.click(None, page.chosen, None, js=_COMPARE)
    connect(compared.then, draw, how, curves, **events.QUIET)
    page.buttons.clone.click(None, page.chosen, None, js=_CLONE)
    tabs.remember(overlay.tabs, overlay.of)


def _wire_actions(page: Layout, listed: Components, buttons: Components) -> None:
    question, ticked = page.confirmation, page.chosen
    asked = pick(named(question), "confirm", "question", "yes", "wanted")
    connect(page.buttons.cancel.click, chosen.ask_cancel, ticked, asked, **events.QUIET)
    connect(page.buttons.delete.click, chosen.ask_delete, ticked, asked, **events.QUIET)
    page.buttons.report.click(chosen.report, ticked, page.message, trigger_mode="once", **events.QUIET)
    question.no.click(confirmation.closed, None, [question.confirm, question.wanted], **events.QUIET)
    answered = question.yes.click(
        chosen.confirmed, [question.wanted, ticked], [question.confirm, page.message], **events.QUIET
    )
    again = [page.pager.page, page.seen, *page.filters.inputs]
    words, said = page.tagging.words, page.message
    done = [
        answered,
        page.buttons.archive.click(chosen.archive, ticked, said, **events.QUIET),
        page.buttons.unarchive.click(chosen.unarchive, ticked, said, **events.QUIET),
        page.tagging.add.click(chosen.add_tags, [ticked, words], said, **events.QUIET),
        page.tagging.remove.click(chosen.remove_tags, [ticked, words], said, **events.QUIET),
    ]
    for event in done:
        listed_again = connect(event.then, refresh, again, listed, **events.QUIET)
        connect(listed_again.then, chosen.enable, ticked, buttons, **events.QUIET)


# --- handlers --------------------------------------------------------------------------------


class Asked(NamedTuple):
    """What the list shows: its filters, columns and order."""

    name: str = ""
    method: str = ALL
    status: str = ALL
    dataset: str = ALL
    tag: str = ALL
    show: str = Shelf.CURRENT.value
    columns: Sequence[str] = run_columns.SHOWN
    sort: str = run_columns.NEWEST

    @property
    def filtered(self) -> bool:
        return self[:6] != Asked()[:6]


def open_page(
    kept: Mapping[str, Any] | None,
    x_axis: str,
    only_differences: bool,
    kl_axis: str,
    tint: str,
    request: gr.Request,
) -> Updates:
    """The filters, the list and the overlay of the address; columns and order also from the last visit."""
    with read_session() as session:
        names = list(dict.fromkeys(found.name for found in datasets.find(session=session)))
        tags = run_tags.known(session=session)
    asked = _asked(kept, names, tags, request)
    page = (read_id(query.value(request, "page")) or 1) - 1
    ticked = ",".join(str(i) for i in query.ids(request, "compare"))
    return {
        **asked._asdict(),
        "dataset": _choices(names, asked.dataset),
        "tag": _choices(tags, asked.tag),
        "chosen": ticked,
        **chosen.enable(ticked),
        **refresh(page, (), *asked),
        **draw(x_axis, only_differences, kl_axis, tint, request),
    }


def _asked(
    kept: Mapping[str, Any] | None, names: Sequence[str], tags: Sequence[str], request: gr.Request
) -> Asked:
    method, status = query.value(request, "method"), query.value(request, "status")
    dataset, tag, show = (query.value(request, key) for key in ("dataset", "tag", "show"))
    columns, sort = _arranged(kept, request)
    return Asked(
        name=query.value(request, "name"),
        method=method if method in list(Method) else ALL,
        status=status if status in list(RunStatus) else ALL,
        dataset=dataset if dataset in names else ALL,
        tag=tag if tag in tags else ALL,
        show=show if show in list(Shelf) else Shelf.CURRENT.value,
        columns=columns,
        sort=sort,
    )


def _choices(values: Sequence[str], chosen_one: str) -> Any:
    return gr.update(choices=[(_("any"), ALL), *((value, value) for value in values)], value=chosen_one)


def _arranged(kept: Mapping[str, Any] | None, request: gr.Request) -> tuple[list[str], str]:
    """The columns and the order: of the address, else those that this browser showed last."""
    kept = kept if isinstance(kept, Mapping) else {}
    asked = query.value(request, "columns")
    keys = asked.split(",") if asked else kept.get("columns", run_columns.SHOWN)
    if not isinstance(keys, list | tuple):
        keys = run_columns.SHOWN
    sort = query.value(request, "sort") or str(kept.get("sort", ""))
    known = [column.key for column in run_columns.CHOICES if column.key in keys]
    return known, sort if run_columns.is_order(sort) else run_columns.NEWEST


def keep(columns: Sequence[str], sort: str) -> dict[str, Any]:
    """Keep the columns and the order for later visits of this browser."""
    return {"columns": list(columns), "sort": sort}


def refresh(page: float, seen: Seen, *filters: Any) -> Updates:
    """Update the list if it differs from the one already shown."""
    asked, number = Asked(*filters), paging.number_of(page)
    sort = asked.sort if run_columns.is_order(asked.sort or "") else run_columns.NEWEST
    with read_session() as session:
        found = runs.find(
            session=session,
            method=asked.method or None,
            status=RunStatus(asked.status) if asked.status else None,
            dataset_name=asked.dataset or None,
            name=clean_text(asked.name or "").strip() or None,
            tag=asked.tag or None,
            shelf=Shelf(asked.show),
            order=run_columns.order_of(sort),
            limit=PAGE_ROWS + 1,
            offset=number * PAGE_ROWS,
        )
        tags = run_tags.of_runs([run.id for run in found], session=session)
        now = tuple((*_fingerprint(run), *tags[run.id]) for run in found), asked, number
        if now == seen:
            return {}
        shown = found[:PAGE_ROWS]
        filtered = asked.filtered or number > 0
        listed = run_table(shown, filtered=filtered, session=session, columns=asked.columns, order=sort)
    more = len(found) > PAGE_ROWS
    return {
        "table": listed,
        "seen": now,
        "timer": events.pace(busy=any(not run.status.is_over for run in shown)),
        **paging.state(number, PAGE_ROWS, len(shown), more=more),
    }


def newer(page: float, *filters: Any) -> Updates:
    return refresh(page - 1, (), *filters)


def older(page: float, *filters: Any) -> Updates:
    return refresh(page + 1, (), *filters)


def look_again(
    page: float,
    seen: Seen,
    x_axis: str,
    only_differences: bool,
    kl_axis: str,
    tint: str,
    drawn: Seen,
    request: gr.Request,
    *filters: Any,
) -> Updates:
    """Poll the list and the overlay in one call."""
    return {
        **refresh(page, seen, *filters),
        **redraw(x_axis, only_differences, kl_axis, tint, drawn, request),
    }


def relist(*filters: Any) -> Updates:
    """Show the first page of the list after a filter, the columns or the order changed."""
    return refresh(0, (), *filters)


def _fingerprint(run: Run) -> tuple[Any, ...]:
    """A fingerprint of a run's row in the list."""
    kept = run.name, run.archived_at is not None
    return run.id, run.status.value, run.step, run.phase, run.wish.value, *kept
