"""Automatic judges as HTML: what each has done, what it costs, and how it agrees with people."""

from collections.abc import Sequence

from markupsafe import Markup

from app import presence
from app.endpoints.judging import TEMPLATE
from app.evidence import AgreementRate
from app.i18n import N_, _, _html, _n, in_language
from app.judges import JudgeReport
from app.quality import Share
from app.store.enums import JudgeKind, VerdictStatus
from app.store.models import Judge
from app.templates import render
from app.ui import formatting, widgets
from app.ui.widgets import Html

ENDED = {VerdictStatus.STOPPED: N_("{n} stopped"), VerdictStatus.FAILED: N_("{n} failed")}
"""Verdicts that were not given, by why."""


def section(found: Sequence[JudgeReport], *, lead: str, caveat: str) -> Html:
    """The judges of a campaign or run.

    Args:
        lead: what a judge would do, while there is none.
        caveat: what the verdicts do not show.
    """
    if not found:
        return widgets.section(_("Automatic judges"), Markup('<p class="hy-note">{}</p>').format(lead))
    pieces = [
        _no_worker(found),
        *map(_failures, found),
        _table(found),
        _agreements(found),
        *map(_template, found),
    ]
    pieces.append(Markup('<p class="hy-note hy-caveat">{}</p>').format(caveat))
    body = Markup('<div class="hy-judges">{}</div>').format(widgets.join(pieces))
    return widgets.section(_("Automatic judges"), body)


def _no_worker(found: Sequence[JudgeReport]) -> Html:
    queues = dict.fromkeys(report.queue for report in found if report.waiting)
    missing = [said for said in map(presence.worker_missing, queues) if said]
    return widgets.join(
        [
            widgets.notice(
                _html("{reason} The verdicts wait.", reason=widgets.with_commands(in_language(said))),
                "warning",
            )
            for said in missing
        ]
    )


def _failures(report: JudgeReport) -> Html:
    failed = report.counts[VerdictStatus.FAILED]
    if not failed:
        return widgets.NOTHING
    reasons = [widgets.with_commands(in_language(reason)) for reason in report.failures]
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
            _("Judge"),
            _("Verdicts"),
            _("Orders disagree"),
            _("No verdict in a reply"),
            _("Prefers the longer answer"),
            _("Cost"),
        ],
        [_row(report) for report in found],
        caption=_("Automatic judges"),
        numeric=(2, 3, 4, 5),
    )


def _row(report: JudgeReport) -> tuple[object, ...]:
    over = report.verdicts - report.waiting
    ended = {what: report.counts[what] for what in ENDED}
    words = ", ".join(
        [
            _("{n} of {total}", n=f"{over:,}", total=f"{report.verdicts:,}"),
            *(_(ENDED[what], n=f"{n:,}") for what, n in ended.items() if n),
        ]
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
        return _("scorer")
    own = [] if judge.template == TEMPLATE else [_("own question")]
    return " · ".join([judge.model, _("seed {seed}", seed=judge.seed), *own])


def _name(report: JudgeReport) -> str:
    return f"{report.judge.name}, #{report.judge.id}"


def _cost(report: JudgeReport) -> str:
    if not report.cost.replies:
        return "–"
    return _("unknown") if report.cost.cost is None else formatting.cost(report.cost.cost)


def _agreements(found: Sequence[JudgeReport]) -> Html:
    """How each judge agrees with people, beside how people agree with each other on the same answers."""
    if not any(report.with_people.pairs for report in found):
        return widgets.NOTHING
    rows = [
        (_name(report), _agreement(report.with_people), _agreement(report.among_people)) for report in found
    ]
    return widgets.table(
        [_("Judge"), _("Agrees with people"), _("People agree on the same answers")],
        rows,
        caption=_("Agreement of judges and people on the same answers"),
        numeric=(1, 2),
    )


def _share(share: Share) -> str:
    if share.rate is None or share.interval is None:
        return "–"
    low, high = share.interval
    return _(
        "{percent}% ({low} to {high}%) of {total}",
        percent=f"{100 * share.rate:.0f}",
        low=f"{100 * low:.0f}",
        high=f"{100 * high:.0f}",
        total=f"{share.of:,}",
    )


def _agreement(found: AgreementRate) -> str:
    if found.rate is None:
        return _("no pairs of votes yet")
    percent = f"{100 * found.rate:.0f}"
    if found.low is None or found.high is None:
        return _n("{percent}% of {n} pair", "{percent}% of {n} pairs", found.pairs, percent=percent)
    return _n(
        "{percent}% ({low} to {high}%) of {n} pair",
        "{percent}% ({low} to {high}%) of {n} pairs",
        found.pairs,
        percent=percent,
        low=f"{100 * found.low:.0f}",
        high=f"{100 * found.high:.0f}",
    )


def _template(report: JudgeReport) -> Html:
    if not report.judge.template:
        return widgets.NOTHING
    return render("judging/question.html", judge=report.judge, own=report.judge.template != TEMPLATE)
