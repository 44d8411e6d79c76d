"""What can be taken away of a ranking: its chart as PNG, and its tables as CSV."""

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from app.board import Model
from app.board_csv import BoardTable, file_name
from app.i18n import N_, _
from app.ranking import Ranking
from app.templates import render
from app.ui import plotly_js, widgets
from app.ui.charts import Figure
from app.ui.compare.names import model_name
from app.ui.looks import colour, look_of, symbol_of
from app.ui.theme import role
from app.ui.widgets import Html

TITLES: Final = {
    BoardTable.RANKING: N_("Ranking"),
    BoardTable.MATRIX: N_("Win-rate matrix"),
    BoardTable.AGAINST: N_("Win rates against a model"),
}


@dataclass(frozen=True, slots=True)
class RankingFiles:
    """The files of a ranking as the page shows it: of all votes, of a campaign's, or of a judge's verdicts.

    Attributes:
        of_what: `campaign` or `judge`, with its `number`; empty for all votes.
        about: what the chart's title says beyond "Ranking".
    """

    found: Ranking
    of_what: Literal["", "campaign", "judge"] = ""
    number: int = 0
    about: str = ""
    aspect: str | None = None
    adjudicated: bool = False

    def of(self, table: BoardTable) -> Html:
        """The links of one table; the ranking has its chart too."""
        title = _(TITLES[table])
        return render(
            "results/files.html",
            picture=self._picture(title) if table is BoardTable.RANKING else "",
            plotly=plotly_js.address(),
            as_png=_("Download {title} as PNG", title=title),
            as_csv=_("Download {title} as CSV", title=title),
            address=self._address(table),
            name=file_name(table, self._board),
        )

    @property
    def _board(self) -> str:
        return f"{self.of_what}-{self.number}" if self.of_what else "board"

    def _address(self, table: BoardTable) -> str:
        page = f"{self.of_what}s/{self.number}/board" if self.of_what else "board"
        reference = self.found.board.reference if self.of_what != "judge" else None
        return widgets.url(
            f"api/v1/{page}.csv",
            table=table.value,
            reference=None if reference is None else self.found.ids[reference],
            aspect=self.aspect,
            adjudicated="true" if self.adjudicated else "",
        )

    def _picture(self, title: str) -> str:
        said = f"{title}: {self.about}" if self.about else title
        name = file_name(BoardTable.RANKING, self._board).removesuffix(".csv")
        return json.dumps(figure(self.found, said, name), ensure_ascii=False)


def figure(found: Ranking, title: str, file: str) -> Figure:
    """The strengths with their intervals, the strongest on top; the colour and the symbol of each run."""
    order = list(reversed(found.order))
    looks = dict.fromkeys(_look(found.models[at]) for at in found.order)
    marks = [_mark(found, at) for at in order]
    layout = {
        "xaxis": {"title": {"text": _("strength, with 95% interval (log-odds)")}, "zeroline": True},
        "yaxis": {
            "tickvals": list(range(len(order))),
            "ticktext": marks,
            "range": [-0.6, len(order) - 0.4],
            "automargin": True,
            "zeroline": False,
        },
    }
    data = [_trace(found, look, order) for look in looks]
    for trace, (method, _of_method) in zip(data, looks, strict=True):  # the legend names a method once
        trace["legendgroup"] = method
        trace["showlegend"] = trace is next(one for one in data if one["name"] == trace["name"])
    return {"title": title, "file": file, "height": 190 + 34 * len(order), "data": data, "layout": layout}


def _mark(found: Ranking, at: int) -> str:
    """A model's rank and name."""
    rank, name = found.rank(at), model_name(found.models[at].method, found.names[at])
    return name if rank is None else f"{rank} · {name}"


def _look(model: Model) -> tuple[str, int]:
    """The method of a model, and the look of its run."""
    return model.method, look_of(model.run_id) if model.run_id else 0


def _trace(found: Ranking, look: tuple[str, int], order: list[int]) -> dict[str, Any]:
    method, tint = look[0], colour(*look)
    places = [(place, found.board.ratings[at]) for place, at in enumerate(order)]
    own = [(place, rating) for place, rating in places if _look(found.models[order[place]]) == look]
    bounds = [(r.strength or 0.0, r.low, r.high) for _place, r in own]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": _(role(method).label),
        "x": [strength for strength, _low, _high in bounds],
        "y": [place for place, _rating in own],
        "marker": {"symbol": symbol_of(*look), "size": 10, "color": tint},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [0 if high is None else high - strength for strength, _low, high in bounds],
            "arrayminus": [0 if low is None else strength - low for strength, low, _high in bounds],
            "color": tint,
            "thickness": 2,
            "width": 5,
        },
    }
