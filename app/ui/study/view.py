"""The study's report as HTML, for its page and for its file."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from app.i18n import N_, _
from app.templates import render
from app.ui import formatting, svg_charts, widgets
from app.ui.charts import Figure
from app.ui.study import figures
from app.ui.study.words import HYPOTHESES, MEASURED, REGIME_NAMES, REGIMES, VERDICTS
from app.ui.widgets import Html

Report = Mapping[str, Any]

LEAD: Final = N_(
    "DPO, HyPO, IPO, RLOO and PPO on pairs that cover the reference's answers fully, narrowly, or not at all."
)
_FAMILIES: Final = {"H1": ("DPO", "HyPO"), "H2": ("DPO", "HyPO"), "H3": ("DPO",)}
_SHOWN: Final = {"H1": ("partial", "off-policy"), "H2": ("full",)}
_KINDS: Final = {"supported": "good", "not_supported": "error", "undecided": "warning"}


def header() -> Html:
    """The top of the page."""
    return widgets.page_header(_("Study"), _(LEAD))


def nothing_yet() -> Html:
    """What the page shows before the first results."""
    return widgets.empty_state(
        _("No results yet"),
        widgets.with_commands(
            _("`make study` trains the runs and writes the report. It goes on where it was stopped.")
        ),
    )


def body(report: Report) -> Html:
    """All sections."""
    rows = report["rows"]
    parts = [_state(report), *(_hypothesis(one, rows) for one in report["hypotheses"])]
    if rows:
        regimes = dict.fromkeys(row["regime"] for row in rows)
        parts += [_table(rows), *(_curves(regime, rows) for regime in regimes)]
        parts += [_proxies(report["proxies"]), _cost(report)]
        parts += [_samples(report["samples"])]
    return widgets.join(parts)


def _state(report: Report) -> Html:
    plan, machine = report["plan"], report["machine"]
    facts = [
        (_("Runs"), _("{n} of {total}", n=report["done"], total=report["planned"])),
        (_("Seeds"), ", ".join(map(str, plan["seeds"]))),
        (_("Prompts"), _("{n}, {held} of them held out", n=plan["prompts"], held=plan["held_out"])),
        (_("Training pairs of a regime"), str(plan["pairs"])),
        (
            _("Machine"),
            _("{cores} cores, {processor}", cores=machine["cores"], processor=machine["processor"]),
        ),
    ]
    return widgets.facts(facts)


# --- hypotheses ------------------------------------------------------------------------------


def _hypothesis(one: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Html:
    key = one["key"]
    verdict = _(VERDICTS[one["verdict"]])
    number = _interval(one["estimate"], one["unit"])
    sentence = Markup("<b>{}</b>: {} {}").format(verdict, _(MEASURED[key]), number)
    pieces: list[Html] = [
        Markup('<p class="hy-lead">{}</p>').format(_(HYPOTHESES[key])),
        widgets.notice(sentence, _KINDS.get(one["verdict"], "info")),  # type: ignore[arg-type]
    ]
    if one["parts"]:
        pieces.append(_parts(one))
    if drawn := _drawn(key, rows):
        pieces += [figures.legend(drawn), svg_charts.charts(_figures_of(key, drawn))]
    spaced = Markup('<div class="hy-spaced">{}</div>').format(widgets.join(pieces))
    return widgets.section(f"{key}: {verdict}", spaced)


def _parts(one: Mapping[str, Any]) -> Html:
    lines = [
        (
            _(REGIME_NAMES[part["regime"]]),
            _interval(part["estimate"], one["unit"]),
            ", ".join(_number(value) for value in part["seeds"]),
        )
        for part in one["parts"]
    ]
    return widgets.table(
        [_("Regime"), _("Estimate"), _("Of each seed")], lines, caption=_(MEASURED[one["key"]])
    )


def _drawn(key: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that a hypothesis is about."""
    if key == "H4":
        return [row for row in rows if row["family"] == "RLOO"]
    families, regimes = _FAMILIES[key], _SHOWN.get(key, tuple(REGIMES))
    return [row for row in rows if row["family"] in families and row["regime"] in regimes]


def _figures_of(key: str, rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    return figures.proxy_and_gold(rows) if key == "H4" else figures.frontiers(rows)


# --- numbers ---------------------------------------------------------------------------------


def _table(rows: Sequence[Mapping[str, Any]]) -> Html:
    headers = [
        _("Variant"),
        _("Regime"),
        _("Seeds"),
        _("Gold reward"),
        _("KL, nats"),
        _("Proxy reward"),
        _("Win rate"),
        _("Tokens"),
        _("Distinct pairs"),
        _("With end"),
        _("Outside"),
    ]
    note = _("at the last step; intervals of 95% over prompts")
    table = widgets.table(
        headers, [_line(row) for row in rows], caption=_("All settings"), numeric=range(2, 11)
    )
    return widgets.section(_("All settings"), table, note)


def _line(row: Mapping[str, Any]) -> tuple[object, ...]:
    last = row["steps"][-1]
    badge = widgets.method_badge(figures.METHODS.get(row["family"], "reference"), row["setting"])
    shares = [_number(_value(last.get(name))) for name in ("distinct2", "end", "outside")]
    return (
        badge,
        _(REGIME_NAMES[row["regime"]]),
        len(row["seeds"]),
        *(_both(last.get(name)) for name in ("gold", "kl", "proxy", "win")),
        _number(_value(last.get("tokens"))),
        *shares,
    )


def _proxies(proxies: Sequence[Mapping[str, Any]]) -> Html:
    lines = [
        (_(REGIME_NAMES[one["regime"]]), "–" if one["accuracy"] is None else f"{one['accuracy']:.0%}")
        for one in proxies
    ]
    table = widgets.table(
        [_("Regime"), _("Accuracy")], lines, caption=_("Reward models of the proxy"), numeric=(1,)
    )
    note = _("share of held-out pairs that they order as the labels do; half is chance")
    return widgets.section(_("Reward models of the proxy"), table, note)


def _cost(report: Report) -> Html:
    lines = [
        (row["setting"], _(REGIME_NAMES[row["regime"]]), *_spent(row), _number(row["step_seconds"]))
        for row in report["rows"]
    ]
    lines += [
        (_("Reward model"), _(REGIME_NAMES[one["regime"]]), *_spent(one), "–") for one in report["proxies"]
    ]
    headers = [
        _("Variant"),
        _("Regime"),
        _("A run"),
        _("Processor time"),
        _("Memory, GB"),
        _("Seconds of a step"),
    ]
    table = widgets.table(headers, lines, caption=_("Cost"), numeric=(2, 3, 4, 5))
    return widgets.section(
        _("Cost"), table, _("a run with its evaluations; the largest memory of its process")
    )


def _spent(one: Mapping[str, Any]) -> tuple[str, str, str]:
    memory = one["memory"]
    seconds, processor = (formatting.duration(one[name]) for name in ("seconds", "processor_seconds"))
    return seconds, processor, "–" if memory is None else f"{memory / 1e9:.2f}"


def _curves(regime: str, rows: Sequence[Mapping[str, Any]]) -> Html:
    mine = [row for row in rows if row["regime"] == regime]
    drawn = [figures.legend(mine), svg_charts.charts([*figures.frontiers(mine), *figures.along(mine)])]
    return widgets.section(_(REGIMES[regime]), widgets.join(drawn))


def _samples(samples: Sequence[Mapping[str, Any]]) -> Html:
    blocks = []
    for one in samples:
        for exchange in one["samples"][:2]:
            said = [(_("Reference"), exchange["reference"]), (one["setting"], exchange["answer"])]
            cells = [(head, widgets.answer(text)) for head, text in said]
            blocks.append(render("run/probe.html", prompt=widgets.messages(exchange["prompt"]), cells=cells))
    fold = Markup('<details class="hy-fold"><summary>{}</summary>{}</details>')
    return widgets.section(_("Answers"), fold.format(_("Show answers of each setting"), widgets.join(blocks)))


# --- pieces ----------------------------------------------------------------------------------


def _interval(estimate: Mapping[str, Any], unit: str) -> str:
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if value is None:
        return ""
    named = {"nats": _("nats"), "gold": _("of gold reward"), "deviations": _("deviations")}[unit]
    return _(
        "{value} {unit} ({low} to {high})",
        value=_number(value),
        unit=named,
        low=_number(low),
        high=_number(high),
    )


def _both(found: Sequence[float] | None) -> Html | str:
    if found is None:
        return "–"
    value, low, high = found
    span = Markup('{}<br><span class="hy-note">{}</span>')
    return span.format(_number(value), _("{low} to {high}", low=_number(low), high=_number(high)))


def _value(found: float | Sequence[float] | None) -> float | None:
    return found[0] if isinstance(found, Sequence) else found


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
