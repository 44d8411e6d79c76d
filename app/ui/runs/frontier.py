"""The frontier of several runs: what they gained for the KL that they spent, a point for each evaluation."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy.orm import Session

from app import sweeps
from app.i18n import N_, _
from app.run_yaml import DEFAULTS
from app.store import metrics, run_judges
from app.store.metrics import Series as Points
from app.store.models import Run
from app.store.run_judges import WIN_RATE
from app.ui import charts, training, widgets
from app.ui.charts import Figure, Series
from app.ui.looks import look_of
from app.ui.widgets import Html
from hypo_engine.config import Method, TrainConfig, applies
from hypo_engine.measures import ACCURACY, KL, SCORE, mean

KlAxis = Literal["kl", "root"]
Tint = Literal["run", "tokens", "seconds"]
"""What the colour of a point says: its run, or the budget that was spent until then."""

HEIGHT: Final = 340
"""Of a chart, in pixels."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What is gained: a held-out metric, its title, and whether it is a share."""

    metric: str
    title: str
    percent: bool = False

    @property
    def stderr(self) -> str:
        return f"{self.metric}_stderr"


_GAINS: Final = (
    Gain(SCORE.metric, N_("Score")),
    Gain(ACCURACY.metric, N_("Held-out accuracy"), percent=True),
)


_TOKENS: Final = "num_tokens"
_SECONDS: Final = "step_time"


@dataclass(frozen=True, slots=True)
class Point:
    """An evaluation of a run.

    Attributes:
        spent: Tokens or seconds of training until then, as the tint asks for; 0 for a run's colour.
    """

    step: int
    kl: float
    kl_stderr: float
    gain: float
    gain_stderr: float
    spent: float = 0.0

    def x(self, axis: KlAxis) -> float:
        """A sampled KL may be a little below zero; its root is then 0."""
        return _root(self.kl) if axis == "root" else self.kl

    def bars(self, axis: KlAxis) -> tuple[float, float]:
        """How far the KL's standard error reaches above and below `x`."""
        error = self.kl_stderr if math.isfinite(self.kl_stderr) else 0.0
        if axis == "kl":
            return error, error
        return _root(self.kl + error) - self.x(axis), self.x(axis) - _root(self.kl - error)


def load(run_ids: Sequence[int], *, session: Session) -> Points:
    """The metrics of frontiers of these runs."""
    names = [gain.metric for gain in (*_win_rates(run_judges.metrics_of(run_ids, session=session)), *_GAINS)]
    names.append(KL.metric)
    found = metrics.series(run_ids, [*names, *(f"{name}_stderr" for name in names)], session=session)
    return found | metrics.thinned(run_ids, [_TOKENS, _SECONDS], session=session, most=charts.MAX_POINTS)


def figures(
    runs: Sequence[Run], points: Points, *, x_axis: KlAxis = "kl", tint: Tint = "run"
) -> list[Figure]:
    """A chart for each gain that a run measured together with its KL."""
    made = []
    for gain in _gains(points):
        lines = [(run, found) for run in runs if (found := _along(run.id, gain, points, tint))]
        if not lines:
            continue
        title = _("{gain} against KL", gain=_(gain.title))
        figure = charts.figure(
            f"frontier-{gain.metric}-{x_axis}-{tint}",
            title,
            [_series(run, found, x_axis) for run, found in lines],
            note=_(
                "A line for each run, a point for each evaluation, later ones larger; bars: standard error."
            ),
            x_title=_("square root of the KL to the reference")
            if x_axis == "root"
            else _("KL to the reference, nats"),
            percent=gain.percent,
            csv=training.csv_address(runs, [KL.metric, KL.stderr, gain.metric, gain.stderr]),
            file=f"frontier-{'-'.join(str(run.id) for run in runs)[:80]}",
        )
        figure["layout"] |= {"hovermode": "closest", "height": HEIGHT}
        for trace, (run, found) in zip(figure["data"], lines, strict=True):
            _detail(trace, run, found, x_axis)
        if tint != "run":
            _colour_by_budget(figure, [found for _run, found in lines], tint)
        made.append(figure)
    return made


def table(runs: Sequence[Run], points: Points) -> Html:
    """The last evaluation of each run, with what its configuration has that others have not."""
    swept, gains = _differing(runs), _gains(points)
    rows = []
    for run in runs:
        last = max((step for step, _value in points.get((run.id, KL.metric), ())), default=None)
        cells = [
            widgets.link(training.label_of(run), "run", id=run.id),
            *(_setting(run, name) for name in swept),
            "–" if last is None else f"{last:,}",
        ]
        for metric, percent in ((KL.metric, False), *((gain.metric, gain.percent) for gain in gains)):
            cells.append(_at(points, run.id, metric, last, percent=percent))
        rows.append([*cells, _links(run, last)])
    titles = [_(TrainConfig.model_fields[name].title or name) for name in swept]
    heads = [_("Run"), *titles, _("step"), _("KL, nats"), *(_(gain.title) for gain in gains), ""]
    numeric = range(1 + len(swept), len(heads) - 1)
    return widgets.table(heads, rows, caption=_("The last evaluation of each run"), numeric=numeric)


def nothing(runs: Sequence[Run], points: Points) -> str:
    """Why there is no chart yet; empty if there is one."""
    if any(points.get((run.id, KL.metric)) for run in runs):
        return ""
    if all(run.status.is_over for run in runs):
        return _(
            "No run measured its KL. Evaluations do if KL prompts is above 0 and the dataset has "
            "held-out prompts."
        )
    return _("No run has been evaluated yet; points appear here as the runs go on.")


def _win_rates(names: Sequence[str]) -> list[Gain]:
    return [
        Gain(name, _("Win rate, judged by {judge}", judge=name.removeprefix(f"{WIN_RATE}/")), percent=True)
        for name in names
    ]


def _gains(points: Points) -> list[Gain]:
    """The gains that were measured, win rates first."""
    known = {name for _run, name in points}
    rates = sorted(name for name in known if name.startswith(WIN_RATE) and not name.endswith("_stderr"))
    return [*_win_rates(rates), *(gain for gain in _GAINS if gain.metric in known)]


def _along(run_id: int, gain: Gain, points: Points, tint: Tint) -> list[Point]:
    """The evaluations in which a run measured both its KL and the gain, in the order of the steps."""
    names = KL.metric, KL.stderr, gain.metric, gain.stderr
    kl, kl_stderr, gained, gain_stderr = (dict(points.get((run_id, name), ())) for name in names)
    spent = _spent(run_id, points, tint)
    return [
        Point(step, kl[step], kl_stderr.get(step, 0.0), gained[step], gain_stderr.get(step, 0.0), spent(step))
        for step in sorted(kl.keys() & gained.keys())
    ]


def _spent(run_id: int, points: Points, tint: Tint) -> Callable[[int], float]:
    """What a run had spent at a step."""
    measured = points.get((run_id, _SECONDS if tint == "seconds" else _TOKENS), ())
    known: dict[float, float] = {0: 0.0}
    known |= training.clock(measured) if tint == "seconds" else dict(measured)
    steps = sorted(known)
    return lambda step: known[steps[bisect_right(steps, step) - 1]]


def _series(run: Run, found: Sequence[Point], x_axis: KlAxis) -> Series:
    return Series(
        training.label_of(run),
        run.method,
        [(point.x(x_axis), point.gain) for point in found],
        [point.gain_stderr for point in found],
        held_out=True,
        look=look_of(run.id),
        run=run.id,
    )


def _root(kl: float) -> float:
    return math.sqrt(max(0.0, kl))


def _detail(trace: dict[str, Any], run: Run, found: Sequence[Point], x_axis: KlAxis) -> None:
    """Bars of the KL, larger markers for later evaluations, and where a point leads."""
    above, below = zip(*(point.bars(x_axis) for point in found), strict=True)
    trace["error_x"] = {**trace["error_y"], "array": list(above), "arrayminus": list(below)}
    last = max(1, found[-1].step)
    trace["marker"]["size"] = [round(5 + 6 * point.step / last, 1) for point in found]
    trace["meta"]["links"] = [_samples(run, point.step) for point in found]
    trace["text"] = [
        _("step {step}, KL {kl}", step=f"{point.step:,}", kl=mean(point.kl, point.kl_stderr))
        for point in found
    ]


def _colour_by_budget(figure: Figure, lines: Sequence[Sequence[Point]], tint: Tint) -> None:
    """Colour the points of all runs by what was spent until then, on one scale."""
    most = max(point.spent for found in lines for point in found)
    named = _("Tokens") if tint == "tokens" else _("Seconds")
    bar = {"title": {"text": named}, "thickness": 10, "outlinewidth": 0}
    figure["layout"]["coloraxis"] = {"colorscale": "Viridis", "cmin": 0, "cmax": most, "colorbar": bar}
    for trace, found in zip(figure["data"], lines, strict=True):
        trace["marker"] |= {"color": [point.spent for point in found], "coloraxis": "coloraxis"}


def _samples(run: Run, step: int) -> str:
    """The address of the held-out samples of an evaluation."""
    return widgets.url("generations", run=run.id, kind="eval", steps=str(step))


def _links(run: Run, last: int | None) -> Html:
    samples = widgets.link(_("Samples"), _samples(run, last)) if last is not None else widgets.NOTHING
    answers = widgets.link(_("Compare answers"), "compare", runs=run.id)
    return widgets.join([samples, answers] if run.status.is_over and samples else [samples], " · ")


def _differing(runs: Sequence[Run]) -> list[str]:
    """The options in which the runs differ, besides the method and what follows from it."""
    names = [name for name in TrainConfig.model_fields if name != "method"]
    return [name for name in names if len({_setting(run, name) for run in runs if _reads(run, name)}) > 1]


def _reads(run: Run, name: str) -> bool:
    return applies(name, Method(run.method))


def _setting(run: Run, name: str) -> str:
    return sweeps.short(run.config.get(name, DEFAULTS[name])) if _reads(run, name) else "–"


def _at(points: Points, run_id: int, metric: str, step: int | None, *, percent: bool) -> str:
    found: Mapping[int, float] = dict(points.get((run_id, metric), ()))
    if step is None or step not in found:
        return "–"
    stderr = dict(points.get((run_id, f"{metric}_stderr"), ())).get(step)
    return (
        f"{found[step]:.0%}" + (f" ± {stderr:.0%}" if stderr else "")
        if percent
        else mean(found[step], stderr)
    )
