"""Handlers of the form: open it, preview the work that it makes, start the campaign."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import gradio as gr
from markupsafe import Markup

from app import campaigns
from app.campaigns import MAX_ITEMS, NewCampaign
from app.errors import AppError, InvalidInput
from app.i18n import _, _html, in_language
from app.settings import get_settings
from app.store import run_lists
from app.store.campaigns import MAX_SAMPLES, MAX_VOTES_WANTED
from app.store.conversations import MAX_CONTENDERS
from app.store.db import read_session
from app.store.enums import CampaignForm, CampaignOrder
from app.templates import render
from app.ui import formatting, query, widgets
from app.ui.campaigns import form, source
from app.ui.campaigns.form import DEFAULTS, TITLES, Given
from app.ui.compare import state as contenders
from app.ui.updates import Updates
from app.ui.widgets import Html

SECONDS_A_VOTE: Final = 10
"""Time of one vote in the summary's estimate."""

_FIELD_OF: Final = {"dataset_id": "prompts", "count": "prompts", "file": "prompts", "opening": "prompts"}
"""The field that shows the error of another name."""


def opened(draft: Mapping[str, Any] | None, request: gr.Request | None) -> Updates:
    """Fill the form: contenders of the address, else those of the last campaign, else the newest twins."""
    values = {**DEFAULTS, **{name: value for name, value in (draft or {}).items() if name in DEFAULTS}}
    offered = contenders.offered_contenders()
    datasets = source.offered_datasets()
    logins = [name for name, _hash in get_settings().logins()]
    asked = _asked(request)
    kinds = [kind for _name, kind in (*source.KINDS, source.OF_ANSWERS)]
    kind = values["source"] if values["source"] in kinds else source.DATASET
    return {
        "new": gr.update(visible=True),
        **values,
        **source.show_fields(kind),
        "source": kind,
        "contenders": gr.update(choices=offered, value=_chosen(values["contenders"], offered, asked)),
        "dataset": gr.update(
            choices=datasets, value=source.first_choice(values["dataset"], datasets, runs=asked)
        ),
        "pasted": gr.update(value=str(values["pasted"] or ""), visible=kind == source.PASTED),
        "file": gr.update(value=None, visible=kind == source.FILE),
        "answer_files": None,
        "voters": gr.update(
            choices=logins,
            value=[name for name in values["voters"] or [] if name in logins],
            visible=bool(logins),
        ),
    }


def _asked(request: gr.Request | None) -> Sequence[int]:
    """The runs of the address, named one by one or as a group of twins."""
    asked, group = query.ids(request, "runs"), query.value(request, "group")
    if asked or not group:
        return asked
    with read_session() as session:
        return run_lists.of_twin_group(group, session=session)


def _chosen(
    remembered: Sequence[str] | None, offered: Sequence[tuple[str, str]], asked: Sequence[int]
) -> list[str]:
    keys = {key for _name, key in offered}
    kept = [key for key in remembered or [] if key in keys]
    if asked or len(kept) < 2:
        return contenders.preselected(asked, offered)
    return kept


def preview(*values: Any) -> Updates:
    """The amount of work in a sentence, the errors below the fields, and the draft that the browser keeps.

    What is not filled in yet is named in the summary only.
    """
    given = Given.of(values)
    errors = problems(given)
    untouched = {"contenders"} | ({"prompts"} if given.prompts.empty else set())
    return {
        "summary": _summary(given, errors),
        "draft": given.draft(),
        **form.messages({name: said for name, said in errors.items() if name not in untouched}),
    }


def problems(given: Given) -> dict[str, str]:
    """One sentence for each field that cannot be used."""
    errors: dict[str, str] = {}
    count = len(given.contenders) + given.answers.count
    if not 2 <= count <= MAX_CONTENDERS:
        errors["contenders"] = _("Choose two to four contenders, not {count}.", count=count)
    for name, most in (("samples", MAX_SAMPLES), ("votes_wanted", MAX_VOTES_WANTED)):
        if not 1 <= given.whole(name) <= most:
            errors[name] = _(
                "{field} must be between {low} and {high}.", field=_(TITLES[name]), low=1, high=most
            )
    for name in ("repeat_share", "check_share"):
        if error := form.share_error(name, given.values[name]):
            errors[name] = error
    try:
        prompts = given.how_many()
        if prompts * max(1, given.whole("samples")) > MAX_ITEMS:
            errors["prompts"] = _(
                "{prompts} prompts with {samples} answers each are too many; a campaign has at most {most} "
                "of them.",
                prompts=f"{prompts:,}",
                samples=given.whole("samples"),
                most=f"{MAX_ITEMS:,}",
            )
    except AppError as error:
        errors[_field_of(error) or "prompts"] = str(error)
    return errors


def _field_of(error: AppError) -> str:
    """The field that shows an error; empty if none does."""
    named = error.field if isinstance(error, InvalidInput) and error.field else ""
    field = _FIELD_OF.get(named, named)
    return field if field in TITLES else ""


def _summary(given: Given, errors: Mapping[str, str]) -> Html:
    """How many answers and votes the campaign makes."""
    if errors:
        return widgets.notice(_html("To fill in: {fields}.", fields=form.titles(errors)), "info")
    count = len(given.contenders) + given.answers.count
    samples, votes = given.whole("samples"), given.whole("votes_wanted")
    prompts = given.how_many()
    together = given.form is CampaignForm.BEST_WORST and count > 2
    tasks = prompts * samples * (1 if together else len(list(combinations(range(count), 2))))
    return render(
        "campaigns/summary.html",
        contenders=formatting.count(count, "contender"),
        prompts=formatting.count(prompts, "prompt"),
        samples=samples,
        answers=formatting.count(prompts * samples * count, "answer"),
        given=prompts * samples * given.answers.count,
        tasks=formatting.count(tasks, "comparison"),
        what=_("all answers at once") if together else _("two answers at a time"),
        people=formatting.count(votes, "person", "different people"),
        votes=formatting.count(tasks * votes, "vote"),
        time=_about(tasks * votes * SECONDS_A_VOTE),
        seconds=SECONDS_A_VOTE,
    )


def _about(seconds: float) -> str:
    """A duration, rounded to minutes from two minutes on."""
    if 120 <= seconds < 3600:
        return _("{n} min", n=round(seconds / 60))
    return formatting.duration(seconds)


def start(request: gr.Request | None, *values: Any) -> Updates:
    """Start the campaign and go to its page; on invalid values show messages and start nothing."""
    given = Given.of(values)
    errors = problems(given)
    if errors:
        return _refused(
            _("Nothing was started: correct {fields}.", fields=form.titles(errors).unescape()), errors
        )
    try:
        choices = [contenders.to_choice(key) for key in given.contenders]
        campaign_id = campaigns.create(
            NewCampaign(
                name=str(given.values["name"] or "").strip(),
                choices=choices,
                prompts=given.prompts.read(choices),
                answers=given.answers.read(),
                only_answered=bool(given.values["only_answered"]),
                decoding=given.decoding,
                samples=given.whole("samples"),
                votes_wanted=given.whole("votes_wanted"),
                form=given.form,
                order=CampaignOrder(given.values["order"]),
                guidelines=str(given.values["guidelines"] or ""),
                ask_reason=bool(given.values["ask_reason"]),
                voters=[str(name) for name in given.values["voters"] or []],
                aspects=[str(name) for name in given.values["aspects"] or []],
                repeat_share=given.share("repeat_share"),
                check_share=given.share("check_share"),
                seed=None if given.values["seed"] is None else int(given.values["seed"]),
            ),
            user=query.username(request),
        )
    except AppError as error:
        field = _field_of(error)
        why = _("Nothing was started: {why}", why=in_language(str(error)))
        return _refused(why, {field: _titled(str(error), field)} if field else {})
    address = widgets.url("campaigns", campaign=campaign_id)
    said = Markup('<div class="hy-notice hy-good" role="status" data-next="{}">{}</div>').format(
        address, _("Started. Opening…")
    )
    button = gr.update(interactive=False, value=_("Started"))
    return {
        "outcome": said,
        "start": button,
        "draft": given.draft(name="", pasted="", answer_names="", seed=None),
        **form.messages({}),
    }


def _titled(sentence: str, field: str) -> str:
    """A sentence that begins with a field's name, with its title instead."""
    said = in_language(sentence)
    return said.replace(field, _(TITLES[field]), 1) if sentence.startswith(f"{field} ") else said


def _refused(why: str, errors: Mapping[str, str]) -> Updates:
    return {"outcome": widgets.error_banner(why), **form.messages(errors)}


def forget_refusal() -> Html:
    """Clear the refusal of the last start when the form changes."""
    return widgets.NOTHING
