"""The datasets page. `datasets` adds and lists; `datasets?id=N` shows one version."""

from functools import partial
from typing import Any

import gradio as gr
from sqlalchemy.orm import Session

from app.errors import AppError, NotFound
from app.held_out_share import one_sided
from app.i18n import N_, _
from app.store import datasets
from app.store.db import read_session, write_session
from app.store.models import Dataset
from app.ui import events, formatting, query, tabs, widgets
from app.ui.datasets import leaking
from app.ui.datasets import view as dataset_view
from app.ui.datasets.adding import add_from_page, dataset_list, look_at, look_through
from app.ui.datasets.detail import dataset_id, show_check, show_left_out, show_lengths, show_pairs
from app.ui.datasets.layout import Adding, Detail, Layout, lay_out
from app.ui.opening import on_open
from app.ui.updates import Updates, connect, named, pick
from app.ui.widgets import Html


def build() -> None:
    """Lay out the page, then wire its events."""
    page = lay_out()
    _wire_opening(page)
    _wire_adding(page.adding, page.message)
    _wire_detail(page.detail, page.message)
    tabs.remember(page.detail.tabs, page.detail.of)


def _wire_opening(page: Layout) -> None:
    detail, pairs = page.detail, page.detail.pairs
    of_list, of_one = pick(named(page.adding), "overview", "found"), pick(named(detail), "detail", "facts")
    loaded = on_open(N_("Datasets"), show, None, {"header": page.header, **of_list, **of_one})
    shown = (
        loaded.then(
            show_pairs, [pairs.split, pairs.search, pairs.page], [pairs.pairs, pairs.pages], **events.QUIET
        )
        .then(show_left_out, detail.line_page, detail.left_out, **events.QUIET)
        .then(show_check, None, detail.check, **events.QUIET)
        .then(show_lengths, None, detail.lengths, **events.QUIET)
    )
    # last: it reads every prompt
    connect(shown.then, leaking.show, None, pick(named(detail), "leaks", "leave_leaks"), **events.QUIET)


def _wire_adding(form: Adding, message: gr.HTML) -> None:
    mapping, fields = form.mapping.outputs, form.mapping.inputs
    looked = partial(gr.on, [form.file.change, form.split_name.submit])
    found = {"look": form.look, "name": form.name, **mapping}
    connect(looked, look_at, [form.file, form.name, form.split_name], found, **events.QUIET)
    connect(
        partial(gr.on, form.mapping.changes()),
        look_through,
        [form.file, form.split_name, *fields],
        {"look": form.look, **pick(mapping, "of_pair", "of_winner", "a_wins", "b_wins")},
        trigger_mode="always_last",
        **events.QUIET,
    )
    connect(
        form.add.click,
        add_from_page,
        [form.file, form.hub, form.name, form.held_out, form.split_name, *fields],
        {"message": message, **pick(named(form), "found", "file", "hub", "name", "split_name"), **mapping},
        show_progress_on=form.add,
        api_visibility="private",
        concurrency_limit=2,
    )


def _wire_detail(detail: Detail, message: gr.HTML) -> None:
    pairs = detail.pairs
    asked: list[Any] = [pairs.split, pairs.search, pairs.page]
    shown = [pairs.pairs, pairs.pages]
    gr.on([pairs.split.input, pairs.search.submit], lambda: 1, None, pairs.page, **events.QUIET).then(
        show_pairs, asked, shown, **events.QUIET
    )
    pairs.page.change(show_pairs, asked, shown, **events.QUIET)
    detail.line_page.change(show_left_out, detail.line_page, detail.left_out, **events.QUIET)
    buttons = [detail.delete, detail.yes, detail.no]
    detail.delete.click(lambda: ask(True), None, buttons, **events.QUIET)
    detail.no.click(lambda: ask(False), None, buttons, **events.QUIET)
    connect(
        detail.leave_leaks.click,
        leaking.leave_out,
        None,
        pick(named(detail), "leaks", "leave_leaks"),
        trigger_mode="once",
        show_progress_on=detail.leaks,
        api_visibility="private",
        concurrency_limit=2,
    )
    detail.yes.click(delete_version, None, message, **events.QUIET)


# --- handlers --------------------------------------------------------------------------------


def show(request: gr.Request) -> Updates:
    """Show the list, or the version in the page's address."""
    wanted = dataset_id(request)
    if wrong := query.wrong_id(request, "id"):
        return {**_EMPTY, "header": _no_such(wrong)}
    if wanted is None:
        header = widgets.page_header(
            _("Datasets"), _("Pairs of answers to the same prompt, one preferred. A dataset never changes.")
        )
        return {
            **_EMPTY,
            "header": header,
            "overview": gr.update(visible=True),
            "found": dataset_list(),
        }
    with read_session() as session:
        try:
            dataset = datasets.get(wanted, session=session)
        except NotFound:
            return {**_EMPTY, "header": _no_such(wanted)}
        facts = _facts(dataset, session)
    return {
        **_EMPTY,
        "header": _header(dataset),
        "detail": gr.update(visible=True),
        "facts": facts,
    }


_EMPTY: Updates = {
    "overview": gr.update(visible=False),
    "found": "",
    "detail": gr.update(visible=False),
    "facts": "",
}


def _no_such(dataset_id: object) -> Html:
    gone = widgets.empty_state(
        _("There is no such dataset"),
        _("No dataset has the id {id}.", id=dataset_id),
        widgets.link_button(_("All datasets"), "datasets", primary=True),
    )
    return widgets.page_header(_("Dataset not found")) + gone


def _facts(dataset: Dataset, session: Session) -> Html:
    missing = one_sided(dataset, session=session)
    facts = dataset_view.dataset_facts(
        dataset,
        datasets.split_counts(dataset.id, session=session),
        datasets.lengths(dataset.id, session=session),
        datasets.versions_of(dataset.name, session=session),
    )
    return facts + widgets.notice(missing, "warning") if missing else facts


def _header(dataset: Dataset) -> Html:
    actions = [
        widgets.link_button(_("All datasets"), "datasets"),
        widgets.link_button(_("Lineage"), "lineage", dataset=dataset.id),
        widgets.link_button(_("Pairs under models"), "pairs", dataset=dataset.id),
    ]
    if dataset.deleted_at is None:
        launch = widgets.link_button(_("Launch a run on it"), "launch", primary=True, dataset=dataset.id)
        actions.append(launch)
    pairs = formatting.count(dataset.rows, "pair")
    lead = _("Version {version}, {pairs}.", version=dataset.version, pairs=pairs)
    if dataset.deleted_at:
        lead += " " + _("It was deleted; runs that used it still show it.")
    return widgets.page_header(dataset.name, lead, *actions)


def ask(asking: bool) -> tuple[Any, Any, Any]:
    """Show the delete button, or the confirmation in its place."""
    return gr.update(visible=not asking), gr.update(visible=asking), gr.update(visible=asking)


def delete_version(request: gr.Request) -> Html:
    """Delete the version in the page's address, unless a run needs it."""
    try:
        with write_session() as session:
            dataset = datasets.delete(dataset_id(request) or 0, session=session)
            words = _("Deleted {name} version {version}.", name=dataset.name, version=dataset.version)
    except AppError as error:
        return widgets.error_banner(str(error))
    return widgets.notice(Html('<span data-next="datasets">{}</span>').format(words), "good")
