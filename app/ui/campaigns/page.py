"""The campaigns page. `campaigns` lists them, `campaigns?new=1` starts one, `campaigns?campaign=3` shows one.

`campaigns?runs=1,2` and `campaigns?group=...` open the form with these runs as contenders.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import gradio as gr

from app.errors import AppError
from app.i18n import N_
from app.ui import confirmation, events, query
from app.ui.campaigns import (
    changing,
    disagreements,
    judge_actions,
    listing,
    making,
    next_round,
    one,
    source,
    view,
)
from app.ui.campaigns.disagreements import Disagreements
from app.ui.campaigns.form import Form
from app.ui.campaigns.layout import Layout, lay_out
from app.ui.campaigns.source import PromptSource
from app.ui.judging import layout as judging_layout
from app.ui.opening import on_open
from app.ui.updates import Components, Updates, connect, named, pick

_LAST: dict[str, Any] = {**events.QUIET, "trigger_mode": "always_last"}


def build() -> None:
    """Lay out the page, then wire its events."""
    page = lay_out()
    shown = _shown_one(page)
    _wire_opening(page, shown)
    _wire_form(page.form)
    _wire_actions(page, shown)
    _wire_panels(page, shown)
    judging_layout.wire(
        page.one.judging,
        shown,
        start=judge_actions.start,
        stop=judge_actions.stop,
        resume=judge_actions.resume,
    )
    _wire_next_round(page)


def _listed(page: Layout) -> Components:
    return {
        **pick(named(page.frame), "seen", "timer"),
        **pick(named(page.listing), "table"),
        **page.listing.pager.outputs,
    }


def _shown_one(page: Layout) -> Components:
    """What shows one campaign."""
    return {
        **named(page.frame),
        **pick(
            named(page.one),
            "one",
            "progress",
            "message",
            "aspect",
            "results",
            "votes",
            "quality",
            "judge_boards",
            "setup",
        ),
        **named(page.one.buttons),
        **pick(named(page.one.judging), *judging_layout.SHOWN),
        **pick(named(page.one.following), "next_round", "pairs", "start"),
        **named(page.one.deciding),
    }


def _wire_opening(page: Layout, shown: Components) -> None:
    form, pager = page.form, page.listing.pager
    everything = {**_listed(page), **shown, "listing": page.listing.listing, **form.filled}
    loaded = on_open(N_("Campaigns"), open_page, form.draft, everything)
    connect(loaded.then, preview, form.in_order, form.outputs, **events.QUIET)
    looked = {**_listed(page), **shown}
    counted: list[Any] = [page.one.aspect, page.one.deciding.adjudicated]
    ticking = [pager.page, page.frame.seen, *counted]
    connect(partial(events.tick, page.frame.timer), look_again, ticking, looked)
    for choice in counted:
        connect(choice.input, count_by, counted, shown, **events.QUIET)
    _wire_disagreements(page.one.deciding, shown)
    connect(pager.back.click, listing.newer, pager.page, _listed(page), **events.QUIET)
    connect(pager.on.click, listing.older, pager.page, _listed(page), **events.QUIET)


def _wire_form(form: Form) -> None:
    _wire_source(form.prompts)
    files = [form.inputs["file"].change, form.inputs["answer_files"].change]
    edited = partial(gr.on, [events.edited(component) for component in _with_input(form)] + files)
    connect(edited, preview, form.in_order, form.outputs, **_LAST)
    edited(making.forget_refusal, None, form.outcome, **_LAST)
    connect(
        form.start.click,
        making.start,
        form.in_order,
        {**form.outputs, "start": form.start, "outcome": form.outcome},
        trigger_mode="once",
        show_progress_on=form.start,
        api_visibility="private",
    )


def _with_input(form: Form) -> list[Any]:
    return [component for name, component in form.inputs.items() if not isinstance(component, gr.File)]


def _wire_source(prompts: PromptSource) -> None:
    fields = pick(named(prompts), "of_dataset", "file", "pasted")
    connect(prompts.source.input, source.show_fields, prompts.source, fields, **events.QUIET)


def _wire_actions(page: Layout, shown: Components) -> None:
    buttons, question = page.one.buttons, page.one.confirmation
    asked = pick(named(question), "confirm", "question", "yes", "wanted")
    connect(buttons.pause.click, changing.pause, None, shown, **events.QUIET)
    connect(buttons.resume.click, changing.resume, None, shown, **events.QUIET)
    connect(buttons.close.click, changing.ask_close, None, asked, **events.QUIET)
    connect(buttons.names.click, changing.ask_names, None, asked, **events.QUIET)
    connect(buttons.report.click, changing.report, None, shown, trigger_mode="once", **events.QUIET)
    question.no.click(confirmation.closed, None, [question.confirm, question.wanted], **events.QUIET)
    answered = {**shown, **pick(asked, "confirm", "wanted")}
    connect(question.yes.click, changing.confirmed, question.wanted, answered, **events.QUIET)


def _wire_panels(page: Layout, shown: Components) -> None:
    edit, extend, buttons = page.one.edit, page.one.extend, page.one.buttons
    panels: dict[str, Any] = {"editing": edit.editing, "extending": extend.extending}
    fields = {**panels, **named(edit)}
    connect(buttons.edit.click, changing.open_edit, None, fields, **events.QUIET)
    given = [
        edit.edit_name,
        edit.edit_guidelines,
        edit.edit_reason,
        edit.edit_voters,
        edit.edit_aspects,
        edit.edit_adjudicators,
        edit.edit_repeats,
        edit.edit_checks,
    ]
    saved = {**shown, **panels}
    connect(edit.edit_save.click, changing.save_edit, given, {**saved, **fields}, **events.QUIET)
    _wire_source(extend.prompts)
    more = {**panels, **pick(named(extend), "more_votes", "votes_message"), **named(extend.prompts)}
    connect(buttons.extend.click, changing.open_extend, None, more, **events.QUIET)
    connect(
        extend.votes_save.click, changing.save_votes, extend.more_votes, {**saved, **more}, **events.QUIET
    )
    connect(
        extend.prompts_save.click,
        changing.add_prompts,
        extend.prompts.inputs,
        {**saved, **more},
        trigger_mode="once",
        **events.QUIET,
    )
    for cancel in (edit.edit_cancel, extend.extend_cancel):
        cancel.click(changing.closed, None, list(panels.values()), **events.QUIET)


def _wire_disagreements(parts: Disagreements, shown: Components) -> None:
    given = [parts.which, parts.adjudicated, parts.best, parts.worst, parts.verdict_reason]
    connect(parts.which.input, disagreements.open_case, parts.which, named(parts), **events.QUIET)
    connect(parts.decide.click, decide, given, shown, trigger_mode="once", **events.QUIET)
    connect(parts.undo_verdict.click, undo_verdict, given[:2], shown, **events.QUIET)


def _wire_next_round(page: Layout) -> None:
    parts, adjudicated = page.one.following, page.one.deciding.adjudicated
    given = [parts.dataset_name, adjudicated, parts.merge, parts.bad]
    made, address = pick(named(parts), "made"), pick(named(parts), "address")
    once: dict[str, Any] = {"trigger_mode": "once", **events.QUIET}
    connect(parts.make_dataset.click, next_round.use_as_dataset, given, made, **once)
    launched = connect(parts.launch.click, next_round.launch, [*given, parts.start], address, **once)
    wanted = [parts.format, parts.file_type, parts.archive, adjudicated, parts.merge]
    downloaded = connect(parts.download.click, next_round.download, wanted, address, **events.QUIET)
    for done in (launched, downloaded):
        done.success(None, parts.address, None, js=events.GO)


# --- handlers --------------------------------------------------------------------------------


def open_page(draft: Mapping[str, Any] | None, request: gr.Request) -> Updates:
    """Show the campaign, the form or the list, as the address says."""
    if query.value(request, "campaign"):
        return one.show("", request)
    if _wants_form(request):
        return {"header": view.form_header(), **making.opened(draft, request)}
    return {"header": view.list_header(), "listing": gr.update(visible=True), **listing.show(0)}


def _wants_form(request: gr.Request | None) -> bool:
    return any(query.value(request, name) for name in ("new", "runs", "group"))


def preview(request: gr.Request, *values: Any) -> Updates:
    """Preview the form, if the address shows it."""
    return making.preview(*values) if _wants_form(request) else {}


def count_by(aspect: str | None, adjudicated: bool | None, request: gr.Request) -> Updates:
    """Rank the contenders by another aspect, or with adjudicated verdicts."""
    return one.show("", request, aspect=aspect, adjudicated=bool(adjudicated))


def look_again(
    page: float, seen: str, aspect: str | None, adjudicated: bool | None, request: gr.Request
) -> Updates:
    """Poll the campaign or the list."""
    if query.value(request, "campaign"):
        return one.show(seen or "", request, aspect=aspect, adjudicated=bool(adjudicated))
    return {} if _wants_form(request) else listing.show(page, seen or "")


def decide(
    number: int | None,
    adjudicated: bool | None,
    best: str | None,
    worst: str | None,
    reason: str | None,
    request: gr.Request,
) -> Updates:
    """Store a verdict on a disagreement, and open the next one."""
    try:
        said, following = disagreements.decide(number, best, worst, reason, request)
    except AppError as error:
        return disagreements.refused(error)
    return _next_case(said, following, request, adjudicated=bool(adjudicated))


def undo_verdict(number: int | None, adjudicated: bool | None, request: gr.Request) -> Updates:
    """Take back the verdict on a disagreement."""
    try:
        said = disagreements.undo(number, request)
    except AppError as error:
        return disagreements.refused(error)
    return _next_case(said, number, request, adjudicated=bool(adjudicated))


def _next_case(said: str, number: int | None, request: gr.Request, *, adjudicated: bool) -> Updates:
    shown = one.show("", request, adjudicated=adjudicated)
    which = {**shown.get("which", gr.update()), "value": number}
    return {**shown, **disagreements.open_case(number, request), "which": which, **disagreements.done(said)}
