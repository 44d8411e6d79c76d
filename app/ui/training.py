"""The training charts: their metrics, and one line per run."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from app.i18n import N_, _
from app.store import metrics, run_judges
from app.store.models import Run
from app.store.run_judges import WIN_RATE
from app.ui import charts, formatting
from app.ui.charts import Figure, Point, Series
from app.ui.looks import colour, look_of
from app.ui.widgets import Html
from hypo_engine.config import Method, Need

XAxis = Literal["steps", "seconds"]
Points = Mapping[tuple[int, str], Sequence[Point]]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: a training metric and its counterpart on held-out data; one of them may be missing."""

    key: str
    title: str
    note: str
    train: str
    held_out: str = ""
    stderr: str = ""
    zero: bool = False
    percent: bool = False
    unit: str = ""
    needs: frozenset[Need] = frozenset(Need)
    """Parts of a batch; only methods that read one of them record the metric."""


_PAIRED: Final = frozenset({Need.REJECTED, Need.REWARDS})

CHARTS = (
    Chart(
        "loss",
        N_("Loss"),
        N_("The loss that is minimised. DPO's starts at 0.69, a coin toss between the answers."),
        "loss",
        "eval_loss",
        unit=N_("nats"),
    ),
    Chart(
        "margins",
        N_("Reward margin"),
        N_("How far the chosen answer's reward is above the rejected one's; bars: standard error."),
        "rewards/margins",
        "eval_rewards/margins",
        "eval_rewards/margins_stderr",
        zero=True,
        needs=_PAIRED,
    ),
    Chart(
        "accuracies",
        N_("Reward accuracy"),
        N_("Share of pairs in which the chosen answer has the higher reward; a tie counts half."),
        "rewards/accuracies",
        "eval_rewards/accuracies",
        "eval_rewards/accuracies_stderr",
        percent=True,
        needs=_PAIRED,
    ),
    Chart(
        "chosen",
        N_("Log-probability of chosen"),
        N_("Of the preferred answers, in nats. It may fall a little."),
        "logps/chosen",
        "eval_logps/chosen",
        needs=frozenset({Need.CHOSEN}),
        unit=N_("nats"),
    ),
    Chart(
        "rejected",
        N_("Log-probability of rejected"),
        N_("Of the other answers, in nats. It should fall faster."),
        "logps/rejected",
        "eval_logps/rejected",
        needs=frozenset({Need.REJECTED}),
        unit=N_("nats"),
    ),
    Chart(
        "kl",
        N_("KL to the reference"),
        N_("Sampled from the policy, nats a response; bars are the standard error."),
        "objective/kl",
        "eval_objective/kl",
        "eval_objective/kl_stderr",
        zero=True,
        needs=frozenset({Need.SAMPLES}),
        unit=N_("nats"),
    ),
    Chart(
        "reference_point",
        N_("KTO's reference point"),
        N_("Mean log-ratio of answers under other prompts, at least 0. A value that climbs is drift."),
        "kl",
        "eval_kl",
        zero=True,
        needs=frozenset({Need.MISMATCHED}),
        unit=N_("nats"),
    ),
    Chart(
        "scores",
        N_("Score of samples"),
        N_("By the run's reward; bars are the standard error."),
        "objective/scores",
        "eval_objective/scores",
        "eval_objective/scores_stderr",
        needs=frozenset({Need.SCORES}),
    ),
    Chart(
        "rlhf_reward",
        N_("Penalised reward"),
        N_("The score less beta times the KL. Online RLHF maximises it; the score alone is a proxy."),
        "objective/rlhf_reward",
        needs=frozenset({Need.SCORES}),
    ),
    Chart(
        "entropy",
        N_("Entropy of samples"),
        N_("Minus the log-probability of a sampled response. A fall to 0 means that all samples are alike."),
        "objective/entropy",
        needs=frozenset({Need.SCORES}),
        unit=N_("nats"),
    ),
    Chart(
        "length",
        N_("Length of samples"),
        N_("Mean tokens of the responses that are sampled."),
        "completions/mean_length",
        "eval_completions/mean_length",
        "eval_completions/mean_length_stderr",
        needs=frozenset({Need.SAMPLES}),
        unit=N_("tokens"),
    ),
    Chart(
        "mean_reward",
        N_("Mean reward"),
        N_("Of chosen and rejected answers together. Only differences are trained, so it may drift."),
        "mean_reward",
        needs=frozenset({Need.REWARDS}),
    ),
    Chart(
        "value_loss",
        N_("Value loss"),
        N_("Half the squared error of PPO's values. It falls as the values learn the scores."),
        "loss/value_avg",
        needs=frozenset({Need.VALUES}),
    ),
    Chart(
        "clipped",
        N_("Clipped tokens"),
        N_("Share of the sampled tokens at which PPO's ratio limit counted."),
        "policy/clipfrac_avg",
        percent=True,
        needs=frozenset({Need.VALUES}),
    ),
    Chart(
        "approxkl",
        N_("KL of an update"),
        N_("From the policy that sampled, nats a token, estimated by half the squared log-ratio."),
        "policy/approxkl_avg",
        needs=frozenset({Need.VALUES}),
        unit=N_("nats"),
    ),
    Chart("grad", N_("Gradient norm"), N_("Before clipping."), "grad_norm"),
)
STEP_TIME = ("step_time", "time/sampling", "time/training")
NAMES = sorted({n for c in CHARTS for n in (c.train, c.held_out, c.stderr) if n} | set(STEP_TIME))


MIN_POINTS: Final = 150
"""Minimum number of points per line when many runs share a chart."""


def load_points(run_ids: Sequence[int], *, session: Session) -> dict[tuple[int, str], list[Point]]:
    """The points of the charts, keyed by run and metric; means over several steps for long runs.

    Lines have fewer points when more than two runs share a chart.
    """
    most = max(MIN_POINTS, 2 * charts.MAX_POINTS // max(2, len(run_ids)))
    win_rates = run_judges.metrics_of(run_ids, session=session)
    names = [*NAMES, *win_rates, *(f"{name}_stderr" for name in win_rates)]
    found = metrics.thinned(run_ids, names, session=session, most=most)
    return {key: [(float(step), value) for step, value in points] for key, points in found.items()}


def label_of(run: Run) -> str:
    """What charts and legends call a run."""
    return f"{formatting.clip(run.name, 60)} #{run.id}"


def csv_address(runs: Sequence[Run], names: Sequence[str]) -> str:
    """The address of exact values of metrics, relative to a page."""
    asked = [*(("run", run.id) for run in runs), *(("name", name) for name in names)]
    return f"api/v1/runs/metrics.csv?{urlencode(asked)}"


def figures(runs: Sequence[Run], points: Points, *, x_axis: XAxis = "steps") -> list[Figure]:
    """All charts, with one line per run."""
    of_runs = f"run-{'-'.join(str(run.id) for run in runs)}"
    clocks = {run.id: clock(points.get((run.id, "step_time"), ())) for run in runs}
    ends = [p[-1][0] for p in points.values() if p]
    last = max(ends, default=1.0)
    if x_axis == "seconds":
        last = max((max(spent.values()) for spent in clocks.values()), default=1.0)
    made = []
    for chart in (*CHARTS, *_win_rates(points)):
        if not any(_may_fill(chart, run, points) for run in runs):
            continue
        lines: list[Series] = []
        for run in runs:
            spent = clocks[run.id] if x_axis == "seconds" else None
            lines.extend(_lines(chart, run, points, spent))
        made.append(
            charts.figure(
                chart.key,
                _(chart.title),
                lines,
                note=_(chart.note),
                x_title=_("seconds of training") if x_axis == "seconds" else _("step"),
                zero=chart.zero,
                percent=chart.percent,
                x_end=max(last, 1.0),
                y_range=(-0.03, 1.03) if chart.percent else None,
                unit=_(chart.unit),
                csv=csv_address(runs, [n for n in (chart.train, chart.held_out, chart.stderr) if n]),
                file=f"{of_runs}-{chart.key}",
            )
        )
    times = _step_time(runs, points)
    times |= {"csv": csv_address(runs, STEP_TIME), "file": f"{of_runs}-time"}
    if times["data"] or not all(run.status.is_over for run in runs):
        made.append(times)
    return made


def _win_rates(points: Points) -> list[Chart]:
    """A chart for each judge of the runs."""
    found = {name for _run, name in points if name.startswith(WIN_RATE) and not name.endswith("_stderr")}
    return [
        Chart(
            name,
            _("Win rate, judged by {judge}", judge=name.removeprefix(f"{WIN_RATE}/")),
            N_(
                "Share of held-out samples that the judge prefers to the reference's; a tie counts half. "
                "Bars: standard error."
            ),
            train="",
            held_out=name,
            stderr=f"{name}_stderr",
            percent=True,
        )
        for name in sorted(found)
    ]


def _may_fill(chart: Chart, run: Run, points: Points) -> bool:
    """Whether a run has points for a chart or may still produce them."""
    if points.get((run.id, chart.train)) or points.get((run.id, chart.held_out)):
        return True
    return not run.status.is_over and bool(chart.needs & Method(run.method).needs)


def legend(runs: Sequence[Run], *, switches: bool = True) -> Html:
    """The legend: each run by its name."""
    return charts.legend([(label_of(run), run.method, run.id) for run in runs], switches=switches)


def _lines(chart: Chart, run: Run, points: Points, clock: Mapping[float, float] | None) -> list[Series]:
    label, look = label_of(run), look_of(run.id)
    train = points.get((run.id, chart.train), ())
    lines = [Series(label, run.method, _on(train, clock), look=look, run=run.id, smooth=True)]
    held_out = points.get((run.id, chart.held_out), ())
    if held_out:
        errors = dict(points.get((run.id, chart.stderr), ()))
        bars = [errors.get(step, 0.0) for step, _value in held_out] if errors else None
        there = _on(held_out, clock)
        said = _("{run}, held out", run=label)
        lines.append(Series(said, run.method, there, bars, held_out=True, look=look, run=run.id))
    return lines


def clock(step_times: Sequence[Point]) -> dict[float, float]:
    """Seconds of training up to the end of each step; an unlogged step counts like the next logged one."""
    spent, last = 0.0, 0.0
    clock = {0.0: 0.0}
    for step, seconds in step_times:
        spent += seconds * (step - last)
        last = step
        clock[step] = spent
    return clock


def _on(points: Sequence[Point], clock: Mapping[float, float] | None) -> list[Point]:
    if clock is None:
        return list(points)
    known = sorted(clock)
    return [(clock[known[bisect_right(known, step) - 1]], value) for step, value in points]


def _step_time(runs: Sequence[Run], points: Points) -> Figure:
    """The breakdown of a step's seconds, one bar per run."""
    rows = []
    for run in runs:
        training = _mean(points.get((run.id, "time/training"), ()))
        sampling = _mean(points.get((run.id, "time/sampling"), ()))
        if training is None and sampling is None:
            training = _mean(points.get((run.id, "step_time"), ()))
        if training is not None or sampling is not None:
            rows.append((run, training or 0.0, sampling or 0.0))
    rows.reverse()
    labels = [_("run {id}", id=run.id) for run, _training, _sampling in rows]
    tints = [colour(run.method, look_of(run.id)) for run, _training, _sampling in rows]
    figure = charts.figure(
        "time",
        _("Time of a step"),
        (),
        note=_("Mean seconds: training plain, sampling hatched."),
        x_title=_("seconds"),
    )
    if rows:
        bar = {
            "type": "bar",
            "orientation": "h",
            "y": labels,
            "hovertemplate": f"%{{x:.2f}} {_('s')}",
            "width": 0.5,
        }
        figure["data"] = [
            {
                **bar,
                "name": _("training"),
                "x": [t for _run, t, _sampling in rows],
                "marker": {"color": tints},
            },
            {
                **bar,
                "name": _("sampling"),
                "x": [s for _run, _training, s in rows],
                "marker": {
                    "color": tints,
                    "opacity": 0.75,
                    "pattern": {"shape": "/", "fgcolor": "@card", "fgopacity": 0.7, "size": 7},
                },
            },
        ]
        figure["layout"]["yaxis"]["type"] = "category"
        figure["layout"] |= {"barmode": "stack", "hovermode": "closest", "bargap": 0.4}
    return figure


def _mean(points: Sequence[Point]) -> float | None:
    return sum(value for _, value in points) / len(points) if points else None
