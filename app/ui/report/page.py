"""The reports page. `report` lists them, `report?id=3` shows one, with the numbers of this moment."""

import hashlib
from functools import partial

import gradio as gr
from markupsafe import Markup

from app.errors import AppError, NotFound
from app.i18n import N_, _, in_language
from app.reports import changing, reading
from app.reports.reading import Experiment
from app.store import reports
from app.store.campaigns import may_change
from app.store.db import read_session
from app.store.models import Report
from app.ui import confirmation, events, formatting, paging, query, widgets
from app.ui.opening import on_open
from app.ui.report import view
from app.ui.report.layout import Layout, lay_out
from app.ui.updates import Components, Updates, connect, named, pick
from app.ui.widgets import Html

PAGE_ROWS = 30
SECONDS = 10.0
"""How often the page looks again while a run is not over."""


def build() -> None:
    """Lay out the page, then wire its events."""
    page = lay_out()
    shown = _shown(page)
    listed = {"table": page.listing.table, **page.listing.pager.outputs}
    on_open(N_("Reports"), open_page, None, {**listed, **shown, "listing": page.listing.listing})
    connect(partial(events.tick, page.frame.timer), look_again, page.frame.seen, shown)
    pager = page.listing.pager
    connect(pager.back.click, newer, pager.page, listed, **events.QUIET)
    connect(pager.on.click, older, pager.page, listed, **events.QUIET)
    _wire_changes(page, shown)


def _shown(page: Layout) -> Components:
    """What shows one report."""
    one = pick(named(page.one), "one", "change", "delete", "top", "curves", "key", "panel", "bottom")
    return {**named(page.frame), **one}


def _wire_changes(page: Layout, shown: Components) -> None:
    one, edit, question = page.one, page.one.edit, page.one.confirmation
    fields = pick(named(edit), "editing", "question_text", "notes", "problem")
    connect(one.change.click, open_edit, None, fields, **events.QUIET)
    given = [edit.question_text, edit.notes]
    connect(edit.save.click, save, given, {**shown, **pick(fields, "editing", "problem")}, **events.QUIET)
    edit.cancel.click(close_edit, None, edit.editing, **events.QUIET)
    asked = pick(named(question), "confirm", "question", "yes", "wanted")
    connect(one.delete.click, ask_delete, None, asked, **events.QUIET)
    question.no.click(confirmation.closed, None, [question.confirm, question.wanted], **events.QUIET)
    question.yes.click(delete, None, one.message, **events.QUIET)


# --- showing -----------------------------------------------------------------------------------


def report_id(request: gr.Request | None) -> int:
    """The report in the page's address, as in `report?id=3`.

    Raises:
        NotFound: if the address has no valid id.
    """
    ids = query.ids(request, "id")
    if not ids:
        raise NotFound(_("The address names no report."))
    return ids[0]


def open_page(request: gr.Request) -> Updates:
    """Show the report in the address, or the list."""
    if query.value(request, "id"):
        return look_again("", request)
    header = widgets.page_header(
        _("Reports"),
        _("A question, and what the runs and votes say about it."),
        widgets.link_button(_("Study"), "study"),
        widgets.link_button(_("Choose runs"), "runs"),
    )
    return {"header": header, "listing": gr.update(visible=True), **_list(0)}


def look_again(seen: str, request: gr.Request) -> Updates:
    """Update the report if its numbers have changed."""
    user = query.username(request)
    try:
        found = reading.read(report_id(request), user=user)
    except NotFound as error:
        return {
            "header": _missing(str(error)),
            "one": gr.update(visible=False),
            "timer": gr.Timer(active=False),
        }
    top, bottom = view.top(found), view.bottom(found)
    key, figures = view.curves(found)
    now = hashlib.sha256(f"{found.report.question}{top}{figures}{bottom}".encode()).hexdigest()
    if now == seen:
        return {}
    own = may_change(found.owner, user)
    return {
        "header": _header(found),
        "seen": now,
        "timer": gr.Timer(SECONDS, active=any(not run.status.is_over for run in found.runs)),
        "one": gr.update(visible=True),
        "change": gr.update(visible=own),
        "delete": gr.update(visible=own),
        "top": top,
        "curves": gr.update(visible=bool(figures)),
        "key": widgets.section(_("Curves"), key) + view.caveat(_(view.CURVES_CAVEAT)),
        "panel": figures,
        "bottom": bottom,
    }


def _header(found: Experiment) -> Html:
    place = f"api/v1/reports/{found.report.id}/export"
    return widgets.page_header(
        in_language(found.report.question),
        view.lead(found),
        widgets.link_button(_("All reports"), "report"),
        widgets.link_button(_("Zip with votes"), place, format="zip"),
        widgets.link_button(_("HTML file"), place, primary=True, format="html"),
    )


def _missing(reason: str) -> Html:
    gone = widgets.empty_state(
        _("There is no such report"),
        _("{reason}. It may have been deleted.", reason=in_language(reason).split(";")[0].rstrip(".")),
        widgets.link_button(_("All reports"), "report", primary=True),
    )
    return widgets.page_header(_("Report not found")) + gone


# --- the list ----------------------------------------------------------------------------------


def _list(page: float) -> Updates:
    number = paging.number_of(page)
    with read_session() as session:
        found = reports.find(session=session, limit=PAGE_ROWS + 1, offset=number * PAGE_ROWS)
        shown = found[:PAGE_ROWS]
        owners = reports.owners(shown, session=session)
        of_runs = reports.runs_of([report.id for report in shown], session=session)
        of_campaigns = reports.campaigns_of([report.id for report in shown], session=session)
    rows = [
        (
            _link(report),
            ", ".join(f"#{row.run_id}" for row in of_runs[report.id]) or "–",
            ", ".join(formatting.clip(campaign.name, 40) for campaign in of_campaigns[report.id]) or "–",
            owners[report.user_id],
            formatting.ago(report.changed_at),
        )
        for report in shown
    ]
    headers = [_("Question"), _("Runs"), _("Campaigns"), _("By"), _("Changed")]
    table = widgets.table(headers, rows, caption=_("Reports, newest first")) if rows else view.nothing_yet()
    return {"table": table, **paging.state(number, PAGE_ROWS, len(shown), more=len(found) > PAGE_ROWS)}


def _link(report: Report) -> Html:
    return widgets.link(formatting.clip(in_language(report.question), 120), "report", id=report.id)


def newer(page: float) -> Updates:
    return _list(page - 1)


def older(page: float) -> Updates:
    return _list(page + 1)


# --- changing ----------------------------------------------------------------------------------


def open_edit(request: gr.Request) -> Updates:
    """Show the panel with the stored question and notes."""
    with read_session() as session:
        report = reports.get(report_id(request), session=session)
    return {
        "editing": gr.update(visible=True),
        "question_text": report.question,
        "notes": report.notes,
        "problem": gr.update(visible=False),
    }


def close_edit() -> object:
    return gr.update(visible=False)


def save(question: str | None, notes: str | None, request: gr.Request) -> Updates:
    """Save question and notes; on an error the panel stays open with its values."""
    user = query.username(request)
    try:
        changing.edit(report_id(request), question=question or "", notes=notes or "", user=user)
    except AppError as error:
        return {"problem": gr.update(value=widgets.field_error(str(error)), visible=True)}
    return {
        **look_again("", request),
        "editing": gr.update(visible=False),
        "problem": gr.update(visible=False),
    }


def ask_delete(request: gr.Request) -> Updates:
    """Ask for confirmation before deleting the report."""
    return confirmation.ask(
        _(
            "Delete report {id} with its question and notes? Runs, campaigns and votes stay.",
            id=report_id(request),
        ),
        yes=_("Yes, delete it"),
        wanted="delete",
    )


def delete(request: gr.Request) -> Html:
    """Delete the report and go to the list."""
    try:
        changing.delete(report_id(request), user=query.username(request))
    except AppError as error:
        return widgets.notice(str(error), "error")
    return Markup('<p data-next="report">{}</p>').format(_("The report is deleted."))
