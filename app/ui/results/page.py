"""The results page: win rates, biases, the list of votes, and their export as a file or a dataset."""

from typing import Any

import gradio as gr

from app.ui import events
from app.ui.results import changing, export, overview, ranking, win_rates
from app.ui.results.layout import Change, Export, Layout, lay_out
from app.ui.updates import Components, Updates, connect, named, pick

_QUIET: dict[str, Any] = {**events.QUIET, "concurrency_limit": None}


def build() -> None:
    """Lay out the page, then wire its events."""
    page = lay_out()
    shown = _shown(page)
    changed = pick(named(page.change), "label_id", "change", "changing", "choice", "worst", "reason")
    connect(events.on_load, open_page, None, {**shown, **changed})
    _wire_lists(page, shown)
    _wire_export(page.export)
    _wire_change(page.change, {**shown, **changed}, changed)


def _shown(page: Layout) -> Components:
    """The outputs of the overview."""
    board, votes = page.board, page.votes
    return {
        "empty": page.empty,
        "body": page.body,
        **named(page.ranking),
        **pick(named(board), "hidden", "show_names", "board", "habits"),
        **board.records.outputs,
        **pick(named(page.export), "counts", "campaign", "of_run"),
        **pick(named(votes), "who", "run", "table"),
        **votes.pager.outputs,
    }


def _wire_lists(page: Layout, shown: Components) -> None:
    votes, records = page.votes, page.board.records
    listed, filters = {"table": votes.table, **votes.pager.outputs}, votes.filters
    for chosen in filters:
        connect(chosen.input, overview.first_page, filters, listed, **_QUIET)
    connect(votes.pager.back.click, overview.newer, [*filters, votes.pager.page], listed, **_QUIET)
    connect(votes.pager.on.click, overview.older, [*filters, votes.pager.page], listed, **_QUIET)
    ranked = named(page.ranking)
    connect(page.ranking.reference.input, ranking.show, page.ranking.reference, ranked, **_QUIET)
    of_records = {"board": page.board.board, **records.outputs}
    connect(records.back.click, win_rates.back, records.page, of_records, **_QUIET)
    connect(records.on.click, win_rates.on, records.page, of_records, **_QUIET)
    connect(page.board.show_names.click, overview.show_names, None, shown, **_QUIET)


def _wire_export(parts: Export) -> None:
    for chosen in parts.filters:
        chosen.input(export.counts, parts.filters, parts.counts, **_QUIET)
    how = [parts.merge, parts.people, parts.archive]
    wanted = [parts.format, parts.file_type, *parts.filters, *how]
    parts.export.click(export.export, wanted, parts.file, **_QUIET).success(
        None, parts.file, None, js=events.GO
    )
    used = [parts.name, *parts.filters, parts.merge, parts.bad]
    parts.use.click(export.use_as_dataset, used, parts.used, trigger_mode="once", **_QUIET)


def _wire_change(parts: Change, everything: Components, changed: Components) -> None:
    given = [parts.label_id, parts.choice, parts.worst, parts.reason]
    for chosen in (parts.choice, parts.worst):
        chosen.input(changing.clear_old_reason, given, parts.reason, **_QUIET)
    connect(parts.save.click, changing.save, given, everything, **_QUIET)
    connect(parts.withdraw.click, changing.withdraw, parts.label_id, everything, **_QUIET)
    connect(parts.close.click, changing.closed, None, changed, **_QUIET)


def open_page(request: gr.Request | None = None) -> Updates:
    """Show the overview and open the vote in the page's address."""
    return {**overview.overview(request), **changing.open_change(request)}
