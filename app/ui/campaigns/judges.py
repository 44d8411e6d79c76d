"""The section of automatic judges on a campaign's page: its components and what they show."""

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
from markupsafe import Markup

from app import judges, presence
from app.endpoints.judging import MAX_TEMPLATE_CHARS, TEMPLATE
from app.evidence import AgreementRate
from app.judges import MAX_SPEC_CHARS, JudgeReport
from app.quality import Share
from app.store.enums import JudgeKind, VerdictStatus
from app.store.models import Judge
from app.templates import render
from app.ui import formatting, widgets
from app.ui.results import ranking_view
from app.ui.updates import Updates
from app.ui.widgets import Html

CAVEAT = (
    "Verdicts of judges are no votes: the ranking by people, the exports and the voters' agreement leave "
    "them out. A verdict counts only if both orders of the answers agree; otherwise it is a tie. Agreement "
    "with people does not show that a judge is right where people disagree with each other."
)


@dataclass(frozen=True, slots=True)
class Judges:
    """The components of the section."""

    judges: gr.Column
    judged: gr.HTML
    judge_new: gr.Button
    judge_stop: gr.Button
    judge_resume: gr.Button
    judge_form: gr.Group
    judge_endpoint: gr.Dropdown
    judge_scorer: gr.Textbox
    judge_template: gr.Textbox
    judge_seed: gr.Number
    judge_message: gr.HTML
    judge_start: gr.Button
    judge_cancel: gr.Button
    judge_boards: gr.HTML


SHOWN = ("judges", "judged", "judge_new", "judge_stop", "judge_resume", "judge_boards")
"""The components that change with the judges."""


def lay_out() -> Judges:
    """Lay out the section, hidden from those who are not the owner until there is a judge."""
    with gr.Column(visible=False, elem_classes="hy-page") as section:
        judged = gr.HTML()
        with gr.Row(elem_classes="hy-buttons"):
            new, stop, resume = (
                gr.Button(text, size="md", scale=0, min_width=160, visible=False)
                for text in ("New judge", "Stop judging", "Continue judging")
            )
        with gr.Group(visible=False, elem_classes="hy-panel") as form:
            endpoint = gr.Dropdown(
                [], label="Judge", info="A configured endpoint, or a scorer.", elem_id="judge-endpoint"
            )
            scorer = gr.Textbox(
                label="Scorer",
                info="length, vader, run:NUMBER of a reward model, its folder or hub id, or another scorer.",
                max_lines=1,
                max_length=MAX_SPEC_CHARS,
                visible=False,
                elem_id="judge-scorer",
            )
            template = gr.Textbox(
                TEMPLATE,
                label="Question to the judge",
                info="Must hold {question}, {answer_a} and {answer_b}. The form of the verdict is added.",
                lines=8,
                max_lines=20,
                max_length=MAX_TEMPLATE_CHARS,
                elem_id="judge-template",
            )
            seed = gr.Number(0, precision=0, label="Seed", elem_id="judge-seed")
            message = gr.HTML(visible=False, elem_classes="hy-panel-message")
            with gr.Row(elem_classes="hy-buttons hy-panel-buttons"):
                start = gr.Button("Start judging", variant="primary", size="md", scale=0, min_width=140)
                cancel = gr.Button("Cancel", size="md", scale=0, min_width=110)
        boards = gr.HTML()
    return Judges(
        section,
        judged,
        new,
        stop,
        resume,
        form,
        endpoint,
        scorer,
        template,
        seed,
        message,
        start,
        cancel,
        boards,
    )


def show(found: Sequence[JudgeReport], user: str, *, own: bool, told: bool) -> Updates:
    """Updates of the section.

    Args:
        own: whether the reader may start and stop judges.
        told: whether the reader has seen the names, without which there are no boards.
    """
    return {
        "judges": gr.update(visible=bool(found) or own),
        "judged": _section(found),
        "judge_new": gr.update(visible=own),
        "judge_stop": gr.update(visible=own and any(report.waiting for report in found)),
        "judge_resume": gr.update(visible=own and any(not report.waiting for report in found)),
        "judge_boards": widgets.join([_board(report, user) for report in found]) if told else "",
    }


def _section(found: Sequence[JudgeReport]) -> Html:
    if not found:
        lead = "A model or a scorer can judge the answers as well. Its verdicts stay apart from votes."
        return widgets.section("Automatic judges", Markup('<p class="hy-note">{}</p>').format(lead))
    pieces = [
        _no_worker(found),
        *map(_failures, found),
        _table(found),
        _agreements(found),
        *map(_template, found),
    ]
    pieces.append(Markup('<p class="hy-note hy-caveat">{}</p>').format(CAVEAT))
    body = Markup('<div class="hy-judges">{}</div>').format(widgets.join(pieces))
    return widgets.section("Automatic judges", body)


def _no_worker(found: Sequence[JudgeReport]) -> Html:
    queues = dict.fromkeys(report.queue for report in found if report.waiting)
    missing = [said for said in map(presence.worker_missing, queues) if said]
    return widgets.join(
        [
            widgets.notice(Markup("{} The verdicts wait.").format(widgets.with_commands(said)), "warning")
            for said in missing
        ]
    )


def _failures(report: JudgeReport) -> Html:
    failed = report.counts[VerdictStatus.FAILED]
    if not failed:
        return widgets.NOTHING
    reasons = [widgets.with_commands(reason) for reason in report.failures]
    return render(
        "campaigns/judge_failures.html",
        judge=report.judge.name,
        verdicts=formatting.count(failed, "verdict"),
        reasons=reasons,
    )


def _table(found: Sequence[JudgeReport]) -> Html:
    """What each judge has done, and what it costs."""
    return widgets.table(
        [
            "Judge",
            "Verdicts",
            "Orders disagree",
            "No verdict in a reply",
            "Prefers the longer answer",
            "Cost",
        ],
        [_row(report) for report in found],
        caption="Automatic judges",
        numeric=(2, 3, 4, 5),
    )


def _row(report: JudgeReport) -> tuple[object, ...]:
    over = report.verdicts - report.waiting
    ended = {what: report.counts[what] for what in (VerdictStatus.STOPPED, VerdictStatus.FAILED)}
    words = ", ".join(
        [f"{over:,} of {report.verdicts:,}", *(f"{n:,} {what.value}" for what, n in ended.items() if n)]
    )
    return (
        Markup('{}<br><span class="hy-note">{}</span>').format(_name(report), _facts(report.judge)),
        widgets.bar(
            over / report.verdicts if report.verdicts else 0.0,
            words,
            live=report.waiting > 0,
        ),
        _share(report.flips),
        f"{report.counts[VerdictStatus.UNPARSABLE]:,}",
        _share(report.longer),
        _cost(report),
    )


def _facts(judge: Judge) -> str:
    if judge.kind is JudgeKind.SCORER:
        return "scorer"
    return f"{judge.model} · seed {judge.seed}" + ("" if judge.template == TEMPLATE else " · own question")


def _name(report: JudgeReport) -> str:
    return f"{report.judge.name}, #{report.judge.id}"


def _cost(report: JudgeReport) -> str:
    if not report.cost.replies:
        return "–"
    return "unknown" if report.cost.cost is None else f"{report.cost.cost:,.4f}"


def _agreements(found: Sequence[JudgeReport]) -> Html:
    """How each judge agrees with people, beside how people agree with each other on the same answers."""
    if not any(report.with_people.pairs for report in found):
        return widgets.NOTHING
    rows = [
        (_name(report), _agreement(report.with_people), _agreement(report.among_people)) for report in found
    ]
    return widgets.table(
        ["Agreement on the same answers", "Judge with people", "People with each other"],
        rows,
        caption="Agreement of judges and people",
        numeric=(1, 2),
    )


def _share(share: Share) -> str:
    if share.rate is None or share.interval is None:
        return "–"
    low, high = share.interval
    return f"{100 * share.rate:.0f}% ({100 * low:.0f} to {100 * high:.0f}%) of {share.of:,}"


def _agreement(found: AgreementRate) -> str:
    if found.rate is None:
        return "no pairs of votes yet"
    known = found.low is not None and found.high is not None
    bounds = f" ({100 * (found.low or 0):.0f} to {100 * (found.high or 0):.0f}%)" if known else ""
    return f"{100 * found.rate:.0f}%{bounds} of {formatting.count(found.pairs, 'pair')}"


def _template(report: JudgeReport) -> Html:
    if not report.judge.template:
        return widgets.NOTHING
    return render("campaigns/judge_template.html", judge=report.judge, own=report.judge.template != TEMPLATE)


def _board(report: JudgeReport, user: str) -> Html:
    """The ranking by a judge, for a reader who has seen the names."""
    if not report.counts[VerdictStatus.JUDGED]:
        return widgets.NOTHING
    found = judges.board(report.judge.id, user=user)
    title = Markup('<h2 class="hy-h2" style="margin-top:18px">By the judge {}, #{}</h2>').format(
        report.judge.name, report.judge.id
    )
    return widgets.join([title, ranking_view.ranking(found)])
