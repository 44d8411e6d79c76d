"""The section of a campaign's page that decides the comparisons on which voters differ."""

from dataclasses import dataclass
from typing import Any, Final

import gradio as gr
from markupsafe import Markup

from app import adjudication
from app.adjudication import Case, Listed, Said, may_adjudicate
from app.campaigns import Overview
from app.errors import AppError, InvalidInput
from app.i18n import N_, _, _n
from app.markdown import to_html
from app.store.judging import LETTERS, MAX_REASON_CHARS
from app.templates import render
from app.ui import formatting, query, widgets
from app.ui.campaigns.address import campaign_id
from app.ui.updates import Updates
from app.ui.widgets import Html

TIE, BAD = "tie", "both bad"
LEAD: Final = N_(
    "You see the votes and their reasons, and no names of voters or models. A verdict is no vote: it changes "
    "no agreement, and counts only where adjudicated verdicts are asked for."
)


@dataclass(frozen=True, slots=True)
class Disagreements:
    """The components of the section; hidden while there is nothing to decide."""

    disagreements: gr.Column
    queue: gr.HTML
    adjudicated: gr.Checkbox
    which: gr.Dropdown
    deciding: gr.Group
    case: gr.HTML
    best: gr.Radio
    worst: gr.Radio
    verdict_reason: gr.Textbox
    decide: gr.Button
    undo_verdict: gr.Button
    case_message: gr.HTML


def lay_out() -> Disagreements:
    """Lay out the section."""
    with gr.Column(visible=False, elem_classes="hy-page") as section:
        queue = gr.HTML()
        adjudicated = gr.Checkbox(
            label=_("In the ranking and the training pairs, use verdicts in place of the votes"),
            visible=False,
            elem_id="adjudicated",
        )
        which = gr.Dropdown([], label=_("Comparison to decide"), elem_id="disagreement", visible=False)
        with gr.Group(visible=False, elem_classes="hy-panel") as deciding:
            case = gr.HTML(elem_classes="hy-deciding")
            best = gr.Radio([], label=_("Verdict"), elem_id="verdict-best")
            worst = gr.Radio([], label=_("Worst"), visible=False, elem_id="verdict-worst")
            reason = gr.Textbox(
                label=_("Reason"),
                info=_("Optional."),
                max_lines=4,
                max_length=MAX_REASON_CHARS,
                elem_id="verdict-reason",
            )
            with gr.Row(elem_classes="hy-buttons hy-panel-buttons"):
                decide = gr.Button(_("Decide"), variant="primary", size="md", scale=0, min_width=120)
                undo = gr.Button(_("Take back"), size="md", scale=0, min_width=120, visible=False)
        message = gr.HTML(visible=False)
    return Disagreements(
        section, queue, adjudicated, which, deciding, case, best, worst, reason, decide, undo, message
    )


def show(overview: Overview, user: str, *, told: bool) -> Updates:
    """Updates of the section, for those who may decide.

    Args:
        told: whether the person has seen the names, and can decide nothing any more.
    """
    if not may_adjudicate(overview.campaign, overview.owner, user):
        return {"disagreements": gr.update(visible=False)}
    listed = adjudication.queue(overview.campaign.id, user=user)
    return {
        "disagreements": gr.update(visible=bool(listed)),
        "queue": _queue(listed, told=told),
        "adjudicated": gr.update(visible=any(one.author for one in listed)),
        "which": gr.update(
            choices=[(_title(one), one.number) for one in listed], visible=bool(listed) and not told
        ),
        **({"deciding": gr.update(visible=False)} if told else {}),
    }


def _queue(listed: list[Listed], *, told: bool) -> Html:
    left = sum(not one.author for one in listed)
    differ = _n(
        "People differ on {n} comparison; {left} of them to decide.",
        "People differ on {n} comparisons; {left} of them to decide.",
        len(listed),
        left=f"{left:,}",
    )
    more = _("You have seen the names, so you can decide none of them.") if told else _(LEAD)
    return widgets.section(_("Disagreements"), Markup("<p>{} {}</p>").format(differ, more))


def _title(one: Listed) -> str:
    title = f"{one.number}: {formatting.clip(' '.join(one.question.split()), 60)}"
    return _("{title} (decided by {name})", title=title, name=one.author) if one.author else title


def open_case(number: int | None, request: gr.Request) -> Updates:
    """Show a disagreement with its votes."""
    if number is None:
        return {"deciding": gr.update(visible=False)}
    try:
        found = adjudication.case(campaign_id(request), int(number), user=query.username(request))
    except AppError as error:
        return {"deciding": gr.update(visible=False), **_message(widgets.error_banner(str(error)))}
    many = len(found.answers) > 2
    present = found.verdict
    sides = [
        (f"{at}" if many else _("{answer} is better", answer=at), LETTERS[at - 1])
        for at in range(1, len(found.answers) + 1)
    ]
    both = [(_("Tie"), TIE), (_("All bad") if many else _("Both bad"), BAD)]
    return {
        "deciding": gr.update(visible=True),
        "case": _case(found),
        "best": gr.update(
            choices=[*sides, *both] if many else [sides[0], *both, sides[1]],
            value=None if present is None else present.choice,
            label=_("Best") if many else _("Verdict"),
        ),
        "worst": gr.update(choices=sides, value=(present.worst or None) if present else None, visible=many),
        "verdict_reason": "" if present is None else present.reason,
        "undo_verdict": gr.update(visible=present is not None),
        **_message(),
    }


def decide(
    number: int | None, best: str | None, worst: str | None, reason: str | None, request: gr.Request
) -> tuple[str, int | None]:
    """Store a verdict.

    Returns:
        A sentence, and the next comparison to decide.

    Raises:
        AppError: as `adjudication.decide`.
    """
    if number is None or not best:
        raise InvalidInput(_("Choose a verdict first."), field="best")
    named = (worst or "") if best not in (TIE, BAD) else ""
    campaign, user = campaign_id(request), query.username(request)
    adjudication.decide(campaign, int(number), best, user=user, worst=named, reason=reason or "")
    left = [one.number for one in adjudication.queue(campaign, user=user) if not one.author]
    if left:
        return _("Comparison {number} is decided.", number=number), left[0]
    return _("Comparison {number} is decided. It was the last one.", number=number), None


def undo(number: int | None, request: gr.Request) -> str:
    """Take back the verdict on a comparison.

    Raises:
        AppError: as `adjudication.undo`.
    """
    adjudication.undo(campaign_id(request), int(number or 0), user=query.username(request))
    return _("The verdict on comparison {number} is taken back.", number=number)


def refused(error: Exception) -> Updates:
    """The message of what was refused."""
    return _message(widgets.error_banner(str(error)))


def done(sentence: str) -> Updates:
    """The message of what was done."""
    return _message(widgets.notice(sentence, "good"))


def _message(html: Html | str = "") -> dict[str, Any]:
    return {"case_message": gr.update(value=html, visible=bool(html))}


def _case(found: Case) -> Html:
    rows = [
        (
            _("Voter {number}", number=at),
            _words(vote, len(found.answers)),
            vote.reason or "–",
            "–" if vote.seconds is None else _("{n} s", n=f"{vote.seconds:.1f}"),
        )
        for at, vote in enumerate(found.votes, start=1)
    ]
    return render(
        "campaigns/case.html",
        number=found.number,
        opening=found.opening,
        question=found.question,
        answers=[to_html(text) for text in found.answers],
        votes=widgets.table(
            [_("Voter"), _("Vote"), _("Reason"), _("Time")], rows, caption=_("Votes"), numeric=(3,)
        ),
        verdict="" if found.verdict is None else _words(found.verdict, len(found.answers)),
        author=found.author,
    )


def _words(said: Said, answers: int) -> str:
    """A verdict with the answers' numbers."""
    if said.choice == TIE:
        return _("a tie")
    if said.choice == BAD:
        return _("all bad") if answers > 2 else _("both bad")
    best = 1 + LETTERS.index(said.choice)
    if not said.worst:
        return _("{answer} is better", answer=best)
    return _("{best} is best, {worst} is worst", best=best, worst=1 + LETTERS.index(said.worst))
