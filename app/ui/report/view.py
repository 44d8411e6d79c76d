"""A report's sections as HTML, for its page and for its file."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from markupsafe import Markup

from app.i18n import N_, _, _html, _n, in_language
from app.markdown import to_html
from app.ranking import Ranking
from app.reports import cost, samples
from app.reports.cost import CampaignCost, RunCost
from app.reports.figures import OF_ALL, Column, Figure
from app.reports.reading import CampaignPart, DataUsed, Experiment, RunLine
from app.reports.samples import Exchange, Reply, Sample
from app.store.db import read_session
from app.store.models import Run
from app.templates import render
from app.ui import formatting, training, widgets
from app.ui.charts import Figure as Chart
from app.ui.compare.names import model_name
from app.ui.results import ranking_view
from app.ui.run.samples import facts as answer_facts
from app.ui.runs.overlay import config_table
from app.ui.widgets import Html
from hypo_engine.measures import pairs_left_out

CURVES_CAVEAT: Final = N_(
    "Curves on training data are smoothed; faint lines are the measured values. One curve does not show how "
    "much another seed would differ."
)
ANSWERS_CAVEAT: Final = N_(
    "The prompts are chosen by a hash, not by anyone. A few answers show how a model writes, not which model "
    "is better."
)
DATA_CAVEAT: Final = N_(
    "A SHA-256 shows that a file is the same. It does not show where its pairs come from or whether they are "
    "right."
)
COST_CAVEAT: Final = N_(
    "Seconds run from a run's first start to its end, with evaluations, checkpoints and pauses; on different "
    "devices they cannot be compared. Tokens are those of the pairs that were read, without sampled ones."
)


def stamp(moment: datetime) -> str:
    """A moment to the minute."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def lead(found: Experiment) -> Html:
    """The facts below the question."""
    report = found.report
    said = [
        _("Report {id} by {owner}", id=report.id, owner=found.owner),
        _("created {time}", time=stamp(report.created_at)),
        _("numbers as of {time}", time=stamp(found.as_of)),
    ]
    return Markup('<span class="hy-facts-line">{}</span>').format(" · ".join(said))


def top(found: Experiment) -> Html:
    """The sections before the curves: notes, runs and figures."""
    return widgets.join([_notes(found.report.notes), _runs(found.lines), _figures(found)])


def bottom(found: Experiment) -> Html:
    """The sections after the curves: boards, answers, configurations, datasets and cost."""
    return widgets.join(
        [
            *map(_campaign, found.campaigns),
            _samples(found),
            _configurations(found.runs),
            _data(found.data, found.lines),
            _cost(found),
        ]
    )


def curves(found: Experiment, *, switches: bool = True) -> tuple[Html, list[Chart]]:
    """The legend, and the overlaid charts of the runs; `switches` as in `charts.legend`."""
    runs = found.runs
    with read_session() as session:
        points = training.load_points([run.id for run in runs], session=session) if runs else {}
    if not points:
        return widgets.NOTHING, []
    return training.legend(runs, switches=switches), training.figures(runs, points)


def caveat(sentence: str) -> Html:
    return Markup('<p class="hy-note hy-caveat">{}</p>').format(sentence)


def _notes(text: str) -> Html:
    if not text:
        return widgets.NOTHING
    return Markup('<div class="hy-md hy-report-notes" translate="no">{}</div>').format(to_html(text))


# --- runs and figures ------------------------------------------------------------------------


def _runs(lines: Sequence[RunLine]) -> Html:
    if not lines:
        return widgets.NOTHING
    table = widgets.table(
        [_("Run"), _("Method"), _("State"), _("Dataset"), _("Steps"), _("Seed")],
        [_run(line) for line in lines],
        caption=_("Runs of the report"),
        numeric=(4, 5),
    )
    return widgets.section(_("Runs"), table)


def _run(line: RunLine) -> tuple[object, ...]:
    stored, run = line.stored, line.run
    badge = widgets.method_badge(stored.method, run=stored.run_id)
    if run is None:
        name = Markup('{} <span class="hy-note">#{}</span>').format(stored.name, stored.run_id)
        return name, badge, widgets.status_badge("deleted"), "–", "–", "–"
    name = Markup('{} <span class="hy-note">#{}</span>').format(
        widgets.link(run.name, "run", id=run.id), run.id
    )
    version = f"{run.dataset.name} v{run.dataset.version}"
    dataset = widgets.link(version, "datasets", id=run.dataset_id)
    steps = _("{n} of {total}", n=f"{run.step:,}", total=f"{run.total_steps:,}") if run.total_steps else "–"
    return name, badge, widgets.status_badge(run.status), dataset, steps, run.seed


def _figures(found: Experiment) -> Html:
    columns = found.table.columns
    if not columns:
        return widgets.section(_("Figures"), _nothing_measured())
    rows = [
        (
            Markup("{} {}").format(
                widgets.method_badge(line.stored.method, name(line), run=line.stored.run_id),
                f"#{line.stored.run_id}",
            ),
            *(_figure(found.table.figures.get((line.stored.run_id, one.key)), one) for one in columns),
        )
        for line in found.lines
    ]
    table = widgets.table(
        [_("Run"), *(in_language(_(column.title)) for column in columns)],
        rows,
        caption=_("Figures of the runs"),
    )
    limits = render("report/limits.html", columns=list(map(_limits, columns)), about=in_language(OF_ALL))
    return widgets.section(
        _("Figures"), widgets.join([table, limits]), _("with 95% interval, and what n counts below")
    )


def _limits(column: Column) -> dict[str, str]:
    return {
        "title": in_language(_(column.title)),
        "does_not_show": in_language(column.does_not_show),
        "counts": _("n counts {things}.", things=_(column.counted)),
    }


def _nothing_measured() -> Html:
    return widgets.empty_state(
        _("No figures yet"),
        _("They appear with the first evaluation of a run, or the first votes on its answers."),
    )


def name(line: RunLine) -> str:
    """A run's name on a line."""
    return formatting.clip(line.run.name if line.run else line.stored.name, 40)


def _figure(figure: Figure | None, column: Column) -> Html:
    if figure is None:
        return Markup('<span class="hy-note">–</span>')
    low, high = figure.low, figure.high
    value = _number(figure.value, column)
    if column.unit == "nats":
        value = _("{number} nats", number=value)
    span = (
        _("no interval")
        if low is None or high is None
        else _("{low} to {high}", low=_number(low, column), high=_number(high, column))
    )
    notes = [_("n unknown") if figure.count is None else f"n = {figure.count:,}"]
    if figure.step is not None:
        notes.append(_("step {n}", n=f"{figure.step:,}"))
    return Markup('<b class="hy-figure">{}</b><br><span class="hy-note">{}<br>{}</span>').format(
        value, span, " · ".join(notes)
    )


def _number(value: float, column: Column) -> str:
    if column.unit == "share":
        return f"{100 * value:.0f}%"
    return formatting.number(value, 3 if abs(value) < 1 else 2).replace("-", "\N{MINUS SIGN}")


# --- campaigns and answers -------------------------------------------------------------------


def _campaign(part: CampaignPart) -> Html:
    campaign = part.overview.campaign
    link = widgets.link(campaign.name, "campaigns", campaign=campaign.id)
    title = _html("Campaign {id}: {name}", id=campaign.id, name=link)
    progress = part.overview.progress
    note = _(
        "{n} of {total} votes, {state}",
        n=f"{progress.votes:,}",
        total=f"{progress.votes_wanted:,}",
        state=_(campaign.status.value),
    )
    if part.board is None:
        return widgets.section(title, _hidden(part), note)
    pieces = [_board(part.board, _("No vote says yet which answer is better."))]
    for judged in part.judges:
        if judged.board is not None:
            judge = judged.report.judge
            pieces.append(
                Markup('<h3 class="hy-h3">{}</h3><p class="hy-note">{}</p>').format(
                    _("By the judge {name}, #{id}", name=judge.name, id=judge.id),
                    _("Below, votes are this judge's verdicts."),
                )
            )
            pieces.append(_board(judged.board, _("The judge has no verdict yet.")))
    return widgets.section(title, widgets.join(pieces), note)


def _hidden(part: CampaignPart) -> Html:
    return widgets.notice(
        _(
            "The names of campaign {id} are still hidden from you, so its board and its answers are left "
            "out. Its page shows the names; you cannot vote in it afterwards.",
            id=part.id,
        )
    )


def _board(board: Ranking, nothing: str) -> Html:
    if len(board.models) < 2:
        return widgets.notice(nothing)
    return widgets.join([ranking_view.ranking(board), ranking_view.against_reference(board)])


def _samples(found: Experiment) -> Html:
    drawn = samples.draw(found)
    return widgets.join(map(_sample, drawn))


def _sample(sample: Sample) -> Html:
    title = (
        _("Answers: held-out probe prompts")
        if sample.campaign_id is None
        else _("Answers: campaign {id}", id=sample.campaign_id)
    )
    note = _n("{some} of {n} prompt", "{some} of {n} prompts", sample.of, some=len(sample.exchanges))
    blocks = widgets.join(map(_exchange, sample.exchanges))
    return widgets.section(title, widgets.join([blocks, caveat(_(ANSWERS_CAVEAT))]), note)


def _reply_badge(reply: Reply) -> Html:
    name = formatting.clip(model_name(reply.method, reply.name), 40)
    return widgets.method_badge(reply.method, name, run=reply.run_id)


def _exchange(exchange: Exchange) -> Html:
    cells = [
        (
            Markup("{} <span>{}</span>").format(
                _reply_badge(reply),
                "" if reply.step is None else _("step {n}", n=reply.step),
            ),
            widgets.answer(reply.answer.text, note=answer_facts(reply.answer)),
        )
        for reply in exchange.replies
    ]
    return render("run/probe.html", prompt=widgets.messages(exchange.prompt), cells=cells)


# --- configurations, datasets, cost ----------------------------------------------------------


def _configurations(runs: Sequence[Run]) -> Html:
    if not runs:
        return widgets.NOTHING
    body = render(
        "report/configurations.html",
        differences=config_table(runs, only_differences=True) if len(runs) > 1 else "",
        whole=config_table(runs, only_differences=False),
    )
    return widgets.section(_("Configurations"), body, _("differences first") if len(runs) > 1 else "")


def _data(data: Sequence[DataUsed], lines: Sequence[RunLine]) -> Html:
    if not data:
        return widgets.NOTHING
    rows = [
        (
            widgets.link(f"{used.dataset.name} v{used.dataset.version}", "datasets", id=used.dataset.id),
            f"{used.counts.train:,}",
            f"{used.counts.held_out:,}",
            f"{used.counts.voted:,}",
            f"{used.dataset.left_out_count:,}",
            Markup('<code class="hy-hash">{}</code>').format(used.dataset.sha256),
        )
        for used in data
    ]
    headers = [
        _("Dataset"),
        _("Training pairs"),
        _("Held out"),
        _("Voted on"),
        _("Rows left out"),
        "SHA-256",
    ]
    table = widgets.table(headers, rows, caption=_("Datasets of the runs"), numeric=(1, 2, 3, 4))
    return widgets.section(_("Datasets"), widgets.join([table, *_left_out(lines), caveat(_(DATA_CAVEAT))]))


def _left_out(lines: Iterable[RunLine]) -> list[Html]:
    said = {line.stored.run_id: pairs_left_out(line.metrics) for line in lines}
    return [
        widgets.notice(_("Run {id}: {sentence}", id=run_id, sentence=in_language(sentence)))
        for run_id, sentence in said.items()
        if sentence
    ]


def _cost(found: Experiment) -> Html:
    of_runs, of_campaigns = cost.of_runs(found), cost.of_campaigns(found)
    pieces = [_run_costs(of_runs)] if of_runs else []
    if any(one.answers is not None or one.replies for one in of_campaigns):
        pieces.append(_campaign_costs(of_campaigns))
    if not pieces:
        return widgets.NOTHING
    return widgets.section(_("Cost"), widgets.join([*pieces, caveat(_(COST_CAVEAT))]))


def _run_costs(costs: Sequence[RunCost]) -> Html:
    rows = [
        (
            f"#{one.run_id}",
            formatting.duration(one.seconds),
            in_language(one.device or "–"),
            one.attempts,
            "–" if one.tokens is None else f"{one.tokens:,}",
        )
        for one in costs
    ]
    return widgets.table(
        [_("Run"), _("Wall time"), _("Device"), _("Attempts"), _("Tokens read")],
        rows,
        caption=_("Cost of runs"),
        numeric=(3, 4),
    )


def _campaign_costs(costs: Sequence[CampaignCost]) -> Html:
    rows = [
        (
            one.campaign_id,
            "–" if one.answers is None else formatting.cost(one.answers),
            "–" if not one.replies else _("unknown") if one.judges is None else formatting.cost(one.judges),
        )
        for one in costs
    ]
    headers = [_("Campaign"), _("Answers of endpoints"), _("Replies of judges")]
    return widgets.table(
        headers, rows, caption=_("Cost of campaigns, in the currency of the prices"), numeric=(1, 2)
    )


# --- the list --------------------------------------------------------------------------------


def nothing_yet() -> Html:
    return widgets.empty_state(
        _("No reports yet"),
        _(
            "A report holds a question and the runs that answer it. Tick runs on Runs and press Report, or "
            "press Report on the page of a run or of a campaign."
        ),
        widgets.link_button(_("Choose runs"), "runs", primary=True),
    )
