"""HTML of the ranking: strengths, votes that would separate models, the win-rate matrix, win rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from app.board_csv import BoardTable
from app.evidence import FEWEST_PROMPTS, WinRate
from app.i18n import N_, _, _n
from app.ranking import Neighbours, Ranking
from app.templates import render
from app.ui import formatting, widgets
from app.ui.compare.names import model_name
from app.ui.looks import style_of
from app.ui.results import view as results_view
from app.ui.results.ranking_files import RankingFiles
from app.ui.theme import ROLES, role
from app.ui.widgets import Html

MANY_MODELS: Final = 12
"""Above this number, the matrix and the list of neighbours are collapsed."""

MOST_VOTES: Final = 10_000
"""The largest number of further votes that is shown."""

DARKEST: Final = 42
"""Tint of a matrix cell at a rate of 0 or 100%, in percent; the text stays readable on it."""

CAVEATS: Final = {
    "strengths": (
        N_(
            "A strength is the log-odds of winning against the average model: 0.7 stands for two wins of "
            "three. Models that the votes do not separate may share a rank. A strength does not show how "
            "much better an answer is, and its interval does not cover other kinds of questions or other "
            "voters."
        )
    ),
    "separation": (
        N_(
            "The number supposes that further votes go like the present ones. It does not show whether the "
            "difference matters."
        )
    ),
    "matrix": (
        N_(
            "A cell is the row's share of the direct votes against the column, above their number; ties "
            "and both bad count one half. It does not show chance: a rate of few votes may be far from the "
            "true one."
        )
    ),
    "against": (
        N_(
            "The first rate does not show what it owes to the length of the answers. The second is the "
            "rate at equal length; it does not correct for other habits, such as lists or tone."
        )
    ),
}


def names_of(found: Ranking) -> list[str]:
    """The names of the models in the present language."""
    return [model_name(model.method, name) for model, name in zip(found.models, found.names, strict=True)]


def nothing_yet(ranking: Ranking) -> Html:
    """The place of the ranking while it has no models."""
    if ranking.hidden:
        what = _(
            "All votes are on answers whose names are still hidden from you. Show all names to count them."
        )
    else:
        what = _("The votes compare no two models yet. Ask two or more models the same question and vote.")
    return widgets.empty_state(
        _("No ranking yet"), what, widgets.link_button(_("Compare models"), "compare", primary=True)
    )


def ranking(found: Ranking, files: RankingFiles | None = None) -> Html:
    """Strengths, the votes that would separate neighbours, and the win-rate matrix.

    Args:
        files: what can be taken away; nothing by default.
    """
    shown = BoardTable.RANKING, BoardTable.MATRIX
    taken = {table.value: widgets.NOTHING if files is None else files.of(table) for table in shown}
    note = _n(
        "{decisions} between two answers to {n} prompt",
        "{decisions} between two answers to {n} prompts",
        found.prompts,
        decisions=formatting.count(found.games, "decision"),
    )
    return render(
        "results/ranking.html",
        note=note,
        notices=_notices(found),
        strengths=_strengths(found),
        separation=_separation(found),
        matrix=_matrix(found),
        files=taken,
        caveats={name: _(sentence) for name, sentence in CAVEATS.items()},
        many=len(found.models) > MANY_MODELS,
    )


def _notices(found: Ranking) -> list[Html]:
    names, said = names_of(found), []
    if not found.has_intervals:
        said.append(
            _n(
                "No intervals yet: the votes cover {n} prompt. An interval and a rank need votes on at least "
                "{fewest} prompts; ask other questions and vote.",
                "No intervals yet: the votes cover {n} prompts. An interval and a rank need votes on at "
                "least {fewest} prompts; ask other questions and vote.",
                found.prompts,
                fewest=FEWEST_PROMPTS,
            )
        )
    if found.unrated:
        left_out = ", ".join(names[at] for at in found.unrated)
        said.append(
            _(
                "Not ranked: {models}. No votes connect them with the models below, so their strengths "
                "cannot be compared. Compare one of them with a ranked model and vote.",
                models=left_out,
            )
        )
    return [widgets.notice(sentence) for sentence in said]


# --- strengths -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Axis:
    """A scale from `low` to `high` in log-odds, whole steps apart."""

    low: float
    high: float
    step: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "_Axis":
        """The smallest axis with all values and 0."""
        low, high = min(0.0, *values), max(0.0, *values)
        step = next((step for step in (0.25, 0.5, 1, 2, 5) if (high - low) / step <= 6), 10)
        return cls(step * (low // step), -step * (-high // step) or step, step)

    def left(self, value: float) -> float:
        """The place of a value from the left edge, in percent."""
        return 100 * (value - self.low) / (self.high - self.low)

    @property
    def view(self) -> dict[str, Any]:
        count = round((self.high - self.low) / self.step)
        values = [self.low + self.step * number for number in range(count + 1)]
        ticks = [{"left": self.left(value), "label": _signed(value, "g")} for value in values]
        return {
            "low": _signed(self.low, "g"),
            "high": _signed(self.high, "g"),
            "zero": self.left(0),
            "ticks": ticks,
        }


def _strengths(found: Ranking) -> Html:
    """One row for each rated model, with its interval on a common axis."""
    ratings = found.board.ratings
    shown = [
        value
        for at in found.order
        for value in (ratings[at].strength, ratings[at].low, ratings[at].high)
        if value is not None
    ]
    axis = _Axis.of(shown)
    names = names_of(found)
    rows = [_strength(found, at, names[at], axis) for at in found.order]
    return render("results/strengths.html", axis=axis.view, rows=rows)


def _strength(found: Ranking, at: int, name: str, axis: _Axis) -> dict[str, Any]:
    rating, model = found.board.ratings[at], found.models[at]
    strength, rank = rating.strength or 0.0, found.rank(at)
    value = _signed(strength)
    known = rating.low is not None and rating.high is not None
    low, high = rating.low or 0.0, rating.high or 0.0
    span = _("{low} to {high}", low=_signed(low), high=_signed(high)) if known else _("none yet")
    return {
        "rank": "–" if rank is None else rank,
        "model": results_view.model_badge(model),
        "method": model.method if model.method in ROLES else "reference",
        "letter": role(model.method).letter,
        "style": style_of(model.method, model.run_id),
        "label": _("{model}: {value}, interval {interval}", model=name, value=value, interval=span)
        if known
        else _("{model}: {value}, no interval", model=name, value=value),
        "at": axis.left(strength),
        "left": axis.left(low),
        "width": axis.left(high) - axis.left(low) if known else None,
        "strength": value,
        "range": span,
        "votes": f"{rating.games:,}",
        "counted": formatting.count(rating.games, "vote"),
    }


def _signed(value: float, form: str = ".2f") -> str:
    """A number with its sign; a minus of the width of a plus."""
    text = format(value, form)
    if not float(text):
        return text.lstrip("-")
    return f"\N{MINUS SIGN}{text[1:]}" if value < 0 else f"+{text}"


# --- separation and matrix -------------------------------------------------------------------


def _separation(found: Ranking) -> Html:
    if not found.neighbours or not found.has_intervals:
        return widgets.NOTHING
    rows = [
        (
            results_view.model_badge(found.models[pair.stronger]),
            results_view.model_badge(found.models[pair.weaker]),
            _needed(pair),
        )
        for pair in found.neighbours
    ]
    return widgets.table(
        [_("Model"), _("and the next"), _("so far")], rows, caption=_("Votes that would separate neighbours")
    )


def _needed(pair: Neighbours) -> str:
    if pair.more_votes is None:
        return _("nearly equal: no estimate")
    if pair.more_votes == 0:
        return _("told apart")
    if pair.more_votes > MOST_VOTES:
        return _("nearly equal: more than {n} more votes to tell them apart", n=f"{MOST_VOTES:,}")
    return _n(
        "about {n} more vote to tell them apart", "about {n} more votes to tell them apart", pair.more_votes
    )


def _matrix(found: Ranking) -> Html:
    order, names = [*found.order, *found.unrated], names_of(found)
    rows = [
        {
            "name": names[at],
            "badge": widgets.method_badge(found.models[at].method, names[at], run=found.models[at].run_id),
            "cells": [_cell(found, names, at, other) for other in order],
        }
        for at in order
    ]
    return render("results/matrix.html", rows=rows)


def _cell(found: Ranking, names: Sequence[str], row: int, column: int) -> dict[str, Any] | None:
    if row == column:
        return None
    rate, votes = float(found.board.rates[row, column]), int(found.board.counts[row, column])
    between = _("{first} against {second}", first=names[row], second=names[column])
    if votes == 0:
        return {
            "votes": 0,
            "title": _("{first} against {second}: never met", first=names[row], second=names[column]),
        }
    spoken = _n("{percent}% of {n} vote", "{percent}% of {n} votes", votes, percent=f"{100 * rate:.0f}")
    return {
        "rate": f"{100 * rate:.0f}%",
        "votes": f"{votes:,}",
        "tint": round(DARKEST * abs(2 * rate - 1)),
        "css": "hy-won" if rate > 0.5 else "hy-lost",
        "title": f"{between}: {spoken}",
        "spoken": spoken,
    }


# --- against one model -----------------------------------------------------------------------


def against(found: Ranking, files: RankingFiles | None = None) -> Html:
    """Win rates against the reference, as they are and at equal length."""
    board, names = found.board, names_of(found)
    if board.reference is None:
        return Markup('<p class="hy-note">{}</p>').format(
            _("Choose a model to see the win rates against it; several base models have votes.")
        )
    rates = [(at, board.against[at]) for at in [*found.order, *found.unrated]]
    rows = [_against(found, at, rate) for at, rate in rates if rate is not None]
    if not rows:
        return Markup('<p class="hy-note">{}</p>').format(
            _("No votes compare {name} with a model.", name=names[board.reference])
        )
    never = [names[at] for at, rate in rates if rate is None and at != board.reference]
    unmet = " " + _("Never met it: {models}.", models=", ".join(never)) if never else ""
    table = widgets.table(
        [_("Model"), _("win rate, with 95% interval"), _("at equal length"), _("votes")],
        rows,
        caption=_("Win rates against {name}", name=names[board.reference]),
        numeric=(3,),
    )
    taken = widgets.NOTHING if files is None else files.of(BoardTable.AGAINST)
    caveat = Markup('<p class="hy-note hy-caveat">{}{}</p>').format(_(CAVEATS["against"]), unmet)
    return widgets.join([table, taken, caveat])


def against_reference(found: Ranking, files: RankingFiles | None = None) -> Html:
    """A section with the win rates against the reference; nothing without one."""
    reference = found.board.reference
    if reference is None:
        return widgets.NOTHING
    title = _("Win rates against {name}", name=names_of(found)[reference])
    return widgets.section(title, against(found, files))


def _against(found: Ranking, at: int, rate: WinRate) -> tuple[object, ...]:
    badge = results_view.model_badge(found.models[at])
    plain = _rate(rate.rate, rate.low, rate.high)
    controlled = _rate(rate.controlled, rate.controlled_low, rate.controlled_high)
    return badge, plain, controlled, f"{rate.games:,}"


def _rate(rate: float | None, low: float | None, high: float | None) -> Html:
    if rate is None:
        return Markup('<span class="hy-note">{}</span>').format(_("lengths do not differ"))
    if low is None or high is None:
        return Markup('<b>{}%</b> <span class="hy-note">{}</span>').format(
            f"{100 * rate:.0f}", _("no interval yet")
        )
    return results_view.rate(rate, low, high)
