"""A report's sections as HTML, for its page and for its file."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from markupsafe import Markup

from app.markdown import to_html
from app.ranking import Ranking
from app.reports import cost, samples
from app.reports.cost import CampaignCost, RunCost
from app.reports.figures import OF_ALL, Column, Figure
from app.reports.reading import CampaignPart, DataUsed, Experiment, RunLine
from app.reports.samples import Exchange, Sample
from app.store.db import read_session
from app.store.models import Run
from app.templates import render
from app.ui import formatting, training, widgets
from app.ui.charts import Figure as Chart
from app.ui.results import ranking_view
from app.ui.run.samples import facts as answer_facts
from app.ui.runs.overlay import config_table
from app.ui.widgets import Html
from hypo_engine.measures import pairs_left_out

CURVES_CAVEAT: Final = (
    "Curves on training data are smoothed; faint lines are the measured values. One curve does not show how "
    "much another seed would differ."
)
ANSWERS_CAVEAT: Final = (
    "The prompts are chosen by a hash, not by anyone. A few answers show how a model writes, not which model "
    "is better."
)
DATA_CAVEAT: Final = (
    "A SHA-256 shows that a file is the same. It does not show where its pairs come from or whether they are "
    "right."
)
COST_CAVEAT: Final = (
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
        f"Report {report.id} by {found.owner}",
        f"created {stamp(report.created_at)}",
        f"numbers as of {stamp(found.as_of)}",
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
    return Markup('<div class="hy-md hy-report-notes">{}</div>').format(to_html(text))


# --- runs and figures ------------------------------------------------------------------------


def _runs(lines: Sequence[RunLine]) -> Html:
    if not lines:
        return widgets.NOTHING
    table = widgets.table(
        ["Run", "Method", "State", "Dataset", "Steps", "Seed"],
        [_run(line) for line in lines],
        caption="Runs of the report",
        numeric=(4, 5),
    )
    return widgets.section("Runs", table)


def _run(line: RunLine) -> tuple[object, ...]:
    stored, run = line.stored, line.run
    badge = widgets.method_badge(stored.method)
    if run is None:
        name = Markup('{} <span class="hy-note">#{}</span>').format(stored.name, stored.run_id)
        return name, badge, widgets.status_badge("deleted"), "–", "–", "–"
    name = Markup('{} <span class="hy-note">#{}</span>').format(
        widgets.link(run.name, "run", id=run.id), run.id
    )
    version = f"{run.dataset.name} v{run.dataset.version}"
    dataset = widgets.link(version, "datasets", id=run.dataset_id)
    steps = f"{run.step:,} of {run.total_steps:,}" if run.total_steps else "–"
    return name, badge, widgets.status_badge(run.status), dataset, steps, run.seed


def _figures(found: Experiment) -> Html:
    columns = found.table.columns
    if not columns:
        return widgets.section("Figures", _nothing_measured())
    rows = [
        (
            Markup("{} {}").format(
                widgets.method_badge(line.stored.method, name(line)), f"#{line.stored.run_id}"
            ),
            *(_figure(found.table.figures.get((line.stored.run_id, one.key)), one) for one in columns),
        )
        for line in found.lines
    ]
    table = widgets.table(["Run", *(column.title for column in columns)], rows, caption="Figures of the runs")
    limits = render("report/limits.html", columns=columns, about=OF_ALL)
    return widgets.section(
        "Figures", widgets.join([table, limits]), "with 95% interval, and what n counts below"
    )


def _nothing_measured() -> Html:
    return widgets.empty_state(
        "No figures yet", "They appear with the first evaluation of a run, or the first votes on its answers."
    )


def name(line: RunLine) -> str:
    """A run's name on a line."""
    return formatting.clip(line.run.name if line.run else line.stored.name, 40)


def _figure(figure: Figure | None, column: Column) -> Html:
    if figure is None:
        return Markup('<span class="hy-note">–</span>')
    low, high = figure.low, figure.high
    unit = " nats" if column.unit == "nats" else ""
    span = (
        "no interval" if low is None or high is None else f"{_number(low, column)} to {_number(high, column)}"
    )
    notes = ["n unknown" if figure.count is None else f"n = {figure.count:,}"]
    if figure.step is not None:
        notes.append(f"step {figure.step:,}")
    return Markup('<b class="hy-figure">{}{}</b><br><span class="hy-note">{}<br>{}</span>').format(
        _number(figure.value, column), unit, span, " · ".join(notes)
    )


def _number(value: float, column: Column) -> str:
    if column.unit == "share":
        return f"{100 * value:.0f}%"
    return formatting.number(value, 3 if abs(value) < 1 else 2).replace("-", "\N{MINUS SIGN}")


# --- campaigns and answers -------------------------------------------------------------------


def _campaign(part: CampaignPart) -> Html:
    campaign = part.overview.campaign
    link = widgets.link(campaign.name, "campaigns", campaign=campaign.id)
    title = Markup("Campaign {}: {}").format(campaign.id, link)
    progress = part.overview.progress
    note = f"{progress.votes:,} of {progress.votes_wanted:,} votes, {campaign.status.value}"
    if part.board is None:
        return widgets.section(title, _hidden(part), note)
    pieces = [_board(part.board, "No vote says yet which answer is better.")]
    for judged in part.judges:
        if judged.board is not None:
            judge = judged.report.judge
            pieces.append(Markup('<h3 class="hy-h3">By the judge {}, #{}</h3>').format(judge.name, judge.id))
            pieces.append(_board(judged.board, "The judge has no verdict yet."))
    return widgets.section(title, widgets.join(pieces), note)


def _hidden(part: CampaignPart) -> Html:
    return widgets.notice(
        f"The names of campaign {part.id} are still hidden from you, so its board and its answers are left "
        "out. Its page shows the names; you cannot vote in it afterwards."
    )


def _board(board: Ranking, nothing: str) -> Html:
    if len(board.models) < 2:
        return widgets.notice(nothing)
    against = ranking_view.against(board) if board.board.reference is not None else widgets.NOTHING
    return widgets.join([ranking_view.ranking(board), against])


def _samples(found: Experiment) -> Html:
    drawn = samples.draw(found)
    return widgets.join(map(_sample, drawn))


def _sample(sample: Sample) -> Html:
    where = "held-out probe prompts" if sample.campaign_id is None else f"campaign {sample.campaign_id}"
    note = f"{len(sample.exchanges)} of {formatting.count(sample.of, 'prompt')}"
    blocks = widgets.join(map(_exchange, sample.exchanges))
    return widgets.section(f"Answers: {where}", widgets.join([blocks, caveat(ANSWERS_CAVEAT)]), note)


def _exchange(exchange: Exchange) -> Html:
    cells = [
        (
            Markup("{} <span>{}</span>").format(
                widgets.method_badge(reply.method, formatting.clip(reply.name, 40)),
                "" if reply.step is None else f"step {reply.step}",
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
    return widgets.section("Configurations", body, "differences first" if len(runs) > 1 else "")


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
    headers = ["Dataset", "Training pairs", "Held out", "Voted on", "Rows left out", "SHA-256"]
    table = widgets.table(headers, rows, caption="Datasets of the runs", numeric=(1, 2, 3, 4))
    return widgets.section("Datasets", widgets.join([table, *_left_out(lines), caveat(DATA_CAVEAT)]))


def _left_out(lines: Iterable[RunLine]) -> list[Html]:
    said = {line.stored.run_id: pairs_left_out(line.metrics) for line in lines}
    return [widgets.notice(f"Run {run_id}: {sentence}") for run_id, sentence in said.items() if sentence]


def _cost(found: Experiment) -> Html:
    of_runs, of_campaigns = cost.of_runs(found), cost.of_campaigns(found)
    pieces = [_run_costs(of_runs)] if of_runs else []
    if any(one.answers is not None or one.replies for one in of_campaigns):
        pieces.append(_campaign_costs(of_campaigns))
    if not pieces:
        return widgets.NOTHING
    return widgets.section("Cost", widgets.join([*pieces, caveat(COST_CAVEAT)]))


def _run_costs(costs: Sequence[RunCost]) -> Html:
    rows = [
        (
            f"#{one.run_id}",
            formatting.duration(one.seconds),
            one.device or "–",
            one.attempts,
            "–" if one.tokens is None else f"{one.tokens:,}",
        )
        for one in costs
    ]
    return widgets.table(
        ["Run", "Wall time", "Device", "Attempts", "Tokens read"],
        rows,
        caption="Cost of runs",
        numeric=(3, 4),
    )


def _campaign_costs(costs: Sequence[CampaignCost]) -> Html:
    rows = [
        (
            one.campaign_id,
            "–" if one.answers is None else f"{one.answers:,.4f}",
            "–" if not one.replies else "unknown" if one.judges is None else f"{one.judges:,.4f}",
        )
        for one in costs
    ]
    headers = ["Campaign", "Answers of endpoints", "Replies of judges"]
    return widgets.table(
        headers, rows, caption="Cost of campaigns, in the currency of the prices", numeric=(1, 2)
    )


# --- the list --------------------------------------------------------------------------------


def nothing_yet() -> Html:
    return widgets.empty_state(
        "No reports yet",
        "A report holds a question and the runs that answer it. Tick runs on Runs and press Report, or press "
        "Report on the page of a run or of a campaign.",
        widgets.link_button("Choose runs", "runs", primary=True),
    )
