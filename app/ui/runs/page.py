"""The runs page: list and overlay. The address stores filters and selection, as in `runs?compare=3,4`."""

from functools import partial
from typing import Any

import gradio as gr

from app.store import datasets, runs
from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.models import Run
from app.text import clean_text
from app.ui import confirmation, events, paging, query
from app.ui.runs import chosen
from app.ui.runs.layout import ALL, Layout, lay_out
from app.ui.runs.overlay import draw, redraw
from app.ui.runs.table import run_table
from app.ui.updates import Components, Updates, connect, named, pick
from hypo_engine.config import Method

PAGE_ROWS = 50
Seen = tuple[Any, ...]

_ADDRESS = "(name, method, status, dataset) => hySetQuery({ name, method, status, dataset })"
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
    buttons = named(page.buttons)
    _wire_list(page, listed, buttons)
    _wire_overlay(page, listed, timer)
    _wire_actions(page, listed, buttons)


def _wire_list(page: Layout, listed: Components, buttons: Components) -> None:
    filters = page.filters.inputs
    asked = [*filters, page.pager.page]
    restored = {**named(page.filters), "chosen": page.chosen}
    loaded = connect(events.on_load, restore, None, restored)
    connect(loaded.then, refresh, [*asked, page.seen], listed, **events.QUIET)
    connect(page.pager.back.click, newer, asked, listed, js=_TO_TOP, **events.QUIET)
    connect(page.pager.on.click, older, asked, listed, js=_TO_TOP, **events.QUIET)
    typed = partial(gr.on, page.filters.edited)
    changed = connect(typed, relist, filters, listed, trigger_mode="always_last", **events.QUIET)
    changed.then(None, filters, None, js=_ADDRESS)
    connect(page.chosen.change, chosen.enable, page.chosen, buttons, **events.QUIET)


def _wire_overlay(page: Layout, listed: Components, timer: gr.Timer) -> None:
    overlay, filters = page.overlay, page.filters.inputs
    curves = pick(named(overlay), "overlaid", "key", "panel", "config", "drawn")
    how: list[Any] = [overlay.x_axis, overlay.only]
    connect(events.on_load, draw, how, curves)
    looked_at = [*filters, page.pager.page, page.seen, *how, overlay.drawn]
    connect(partial(events.tick, timer), look_again, looked_at, {**listed, **curves})
    connect(partial(gr.on, [field.input for field in how]), draw, how, curves, **events.QUIET)
    compared = page.buttons.overlay.click(None, page.chosen, None, js=_COMPARE)
    connect(compared.then, draw, how, curves, **events.QUIET)
    page.buttons.clone.click(None, page.chosen, None, js=_CLONE)


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
    again = [*page.filters.inputs, page.pager.page, page.seen]
    listed_again = connect(answered.then, refresh, again, listed, **events.QUIET)
    connect(listed_again.then, chosen.enable, ticked, buttons, **events.QUIET)


# --- handlers --------------------------------------------------------------------------------


def restore(request: gr.Request) -> Updates:
    """Restore the filters and the selection from the address."""
    with read_session() as session:
        names = list(dict.fromkeys(found.name for found in datasets.find(session=session)))
    method, status = query.value(request, "method"), query.value(request, "status")
    dataset = query.value(request, "dataset")
    return {
        "name": query.value(request, "name"),
        "method": method if method in list(Method) else ALL,
        "status": status if status in list(RunStatus) else ALL,
        "dataset": gr.update(
            choices=[("any", ALL), *((n, n) for n in names)], value=dataset if dataset in names else ALL
        ),
        "chosen": ",".join(str(i) for i in query.ids(request, "compare")),
    }


def refresh(name: str, method: str, status: str, dataset: str, page: float, seen: Seen) -> Updates:
    """Update the list if it differs from the one already shown."""
    number = paging.number_of(page)
    with read_session() as session:
        found = runs.find(
            session=session,
            method=method or None,
            status=RunStatus(status) if status else None,
            dataset_name=dataset or None,
            name=clean_text(name or "").strip() or None,
            limit=PAGE_ROWS + 1,
            offset=number * PAGE_ROWS,
        )
        filtered = bool(name or method or status or dataset)
        now = tuple(_fingerprint(run) for run in found), filtered, number
        if now == seen:
            return {}
        shown = found[:PAGE_ROWS]
        listed = run_table(shown, filtered=filtered or number > 0, session=session)
    more = len(found) > PAGE_ROWS
    return {
        "table": listed,
        "seen": now,
        "timer": events.pace(busy=any(not run.status.is_over for run in shown)),
        **paging.state(number, PAGE_ROWS, len(shown), more=more),
    }


def newer(name: str, method: str, status: str, dataset: str, page: float) -> Updates:
    return refresh(name, method, status, dataset, page - 1, ())


def older(name: str, method: str, status: str, dataset: str, page: float) -> Updates:
    return refresh(name, method, status, dataset, page + 1, ())


def look_again(
    name: str,
    method: str,
    status: str,
    dataset: str,
    page: float,
    seen: Seen,
    x_axis: str,
    only_differences: bool,
    drawn: Seen,
    request: gr.Request,
) -> Updates:
    """Poll the list and the overlay in one call."""
    return {
        **refresh(name, method, status, dataset, page, seen),
        **redraw(x_axis, only_differences, drawn, request),
    }


def relist(name: str, method: str, status: str, dataset: str) -> Updates:
    """Show the first page of the list after a filter changed."""
    return refresh(name, method, status, dataset, 0, ())


def _fingerprint(run: Run) -> tuple[Any, ...]:
    """A fingerprint of a run's row in the list."""
    return run.id, run.status.value, run.step, run.phase, run.wish.value, run.name
