"""Automatic judges as HTML: what each has done, what it costs, and how it agrees with people."""

from collections.abc import Sequence

from markupsafe import Markup

from app import presence
from app.endpoints.judging import TEMPLATE
from app.evidence import AgreementRate
from app.judges import JudgeReport
from app.quality import Share
from app.store.enums import JudgeKind, VerdictStatus
from app.store.models import Judge
from app.templates import render
from app.ui import formatting, widgets
from app.ui.widgets import Html


def section(found: Sequence[JudgeReport], *, lead: str, caveat: str) -> Html:
    """The judges of a campaign or run.

    Args:
        lead: what a judge would do, while there is none.
        caveat: what the verdicts do not show.
    """
    if not found:
        return widgets.section("Automatic judges", Markup('<p class="hy-note">{}</p>').format(lead))
    pieces = [
        _no_worker(found),
        *map(_failures, found),
        _table(found),
        _agreements(found),
        *map(_template, found),
    ]
    pieces.append(Markup('<p class="hy-note hy-caveat">{}</p>').format(caveat))
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
        "judging/failures.html",
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
    return render("judging/question.html", judge=report.judge, own=report.judge.template != TEMPLATE)
