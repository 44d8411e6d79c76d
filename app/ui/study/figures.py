"""The study's charts, from the rows of its report."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from app.i18n import N_, _
from app.ui import charts
from app.ui.charts import Figure, Series
from app.ui.study.words import REGIME_NAMES
from app.ui.widgets import Html

Row = Mapping[str, Any]

METHODS: Final[Mapping[str, str]] = {"DPO": "dpo", "HyPO": "hypo", "IPO": "dpo", "RLOO": "rloo", "PPO": "ppo"}
"""The method whose colour a family has."""

ALONG: Final = (
    ("gold", N_("Gold reward"), False),
    ("kl", N_("KL to the reference"), False),
    ("proxy", N_("Proxy reward"), False),
    ("win", N_("Win rate by gold"), True),
    ("tokens", N_("Length in tokens"), False),
    ("distinct2", N_("Distinct pairs of words"), True),
    ("end", N_("Answers with an end token"), True),
    ("outside", N_("Answers outside the narrow part"), True),
    ("logps/chosen", N_("Log-probability of chosen"), False),
    ("logps/rejected", N_("Log-probability of rejected"), False),
)
"""What is drawn along the steps: its key, its title, and whether it is a share."""


def looks(rows: Iterable[Row]) -> dict[str, int]:
    """The look of each setting among those with its method's colour, as the number of a run."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    for row in rows:
        if row["setting"] not in found:
            method = METHODS.get(row["family"], "reference")
            found[row["setting"]] = counts[method] = counts.get(method, 0) + 1
    return found


def legend(rows: Sequence[Row]) -> Html:
    """The line of each setting."""
    known = looks(rows)
    families = {row["setting"]: row["family"] for row in rows}
    entries = [(name, METHODS.get(families[name], "reference"), look) for name, look in known.items()]
    return charts.legend(entries, held_out=False, switches=False)


def frontiers(rows: Sequence[Row], families: Sequence[str] = ()) -> list[Figure]:
    """KL against gold for each regime: a line for each setting, a point for each evaluation."""
    known, regimes = looks(rows), dict.fromkeys(row["regime"] for row in rows)
    figures = []
    for regime in regimes:
        mine = [
            row for row in rows if row["regime"] == regime and (not families or row["family"] in families)
        ]
        if not mine:
            continue
        figure = charts.figure(
            f"frontier-{regime}",
            _("KL and gold reward, {regime}", regime=_(REGIME_NAMES.get(regime, regime))),
            [_series(row, known, "kl", "gold") for row in mine],
            note=_(
                "A line for each setting, a point for each evaluation; bars are 95% intervals over prompts."
            ),
            x_title=_("nats"),
        )
        for trace, row in zip(figure["data"], mine, strict=True):
            trace["error_x"] = {"type": "data", "array": _halves(row, "kl")}
        figures.append(figure)
    return figures


def along(rows: Sequence[Row]) -> list[Figure]:
    """Everything that is measured along the steps, for the rows of one regime."""
    known, figures = looks(rows), []
    for key, title, percent in ALONG:
        lines = [_series(row, known, "step", key) for row in rows if _has(row, key)]
        if lines:
            figures.append(charts.figure(f"along-{key}", _(title), lines, x_title=_("step"), percent=percent))
    return figures


def proxy_and_gold(rows: Sequence[Row]) -> list[Figure]:
    """The proxy and the gold reward along the KL, for each row."""
    known, figures = looks(rows), []
    for row in rows:
        regime = _(REGIME_NAMES.get(row["regime"], row["regime"]))
        titles = {
            "proxy": _("Proxy reward, {regime}", regime=regime),
            "gold": _("Gold reward, {regime}", regime=regime),
        }
        figures += [
            charts.figure(
                f"gap-{row['regime']}-{key}", title, [_series(row, known, "kl", key)], x_title=_("nats")
            )
            for key, title in titles.items()
            if _has(row, key)
        ]
    return figures


def _has(row: Row, key: str) -> bool:
    return all(step.get(key) is not None for step in row["steps"])


def _series(row: Row, known: Mapping[str, int], x: str, y: str) -> Series:
    points = [(_value(step[x]), _value(step[y])) for step in row["steps"]]
    method, look = METHODS.get(row["family"], "reference"), known[row["setting"]]
    return Series(row["setting"], method, points, _halves(row, y), held_out=True, look=look - 1, run=look)


def _value(number: float | Sequence[float]) -> float:
    return float(number if isinstance(number, int | float) else number[0])


def _halves(row: Row, key: str) -> list[float]:
    """Half the length of each interval; 0 for a number without one."""
    found = [step[key] for step in row["steps"]]
    return [(one[2] - one[1]) / 2 if isinstance(one, list) and None not in one else 0.0 for one in found]
