"""Scored pairs as HTML: the models, the orders, the table, one whole pair, and the histogram."""

from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup

from app.pair_scoring import Histogram, PairPage, seconds_left
from app.store.enums import MarginKind, PairScoringStatus, Split
from app.store.models import PairScore, PairScoring
from app.store.scored_pairs import STRONGLY, ScoredPair, Show
from app.templates import render
from app.ui import formatting, widgets
from app.ui.charts import Figure
from app.ui.looks import colour, look_of
from app.ui.pairs.address import Address
from app.ui.widgets import Html

EXCERPT: Final = 120
RIGHT: Final = "A pair is right if its margin is above zero."
CAUTION: Final = (
    "A model that was trained on a pair fits it, so a positive margin on a training pair says little, and a "
    "negative one is a hint, no proof, that the label is wrong."
)
_LABELS: Final = {
    Show.ALL: "All",
    Show.WRONG: "Still wrong",
    Show.SURE: "Most sure",
    Show.NEAR: "Closest to zero",
    Show.MISLABELLED: "Probably mislabelled",
    Show.UNSCORED: "Not scored",
}
_KINDS: Final = {
    MarginKind.RELATIVE: "β times the difference of the answers' log-ratios to the reference",
    MarginKind.PER_TOKEN: "the difference of the answers' mean log-probabilities per token",
    MarginKind.REWARD: "the difference of the answers' rewards",
}
_SIDES: Final = {Split.TRAIN: "training", Split.HELD_OUT: "held out", Split.VOTED: "voted on"}


def name(scoring: PairScoring) -> str:
    """A scoring's model in words."""
    number = f"run {scoring.run_id}" if scoring.run_id else "a deleted run"
    return f"{formatting.clip(scoring.run_name, 60)} ({number}, step {scoring.step})"


def scorings(found: Sequence[PairScoring]) -> Html:
    """The models that score the pairs, with their progress."""
    if not found:
        return widgets.NOTHING
    rows = [
        (
            widgets.link(name(one), "run", id=one.run_id) if one.run_id else name(one),
            widgets.method_badge(one.method),
            _progress(one),
        )
        for one in found
    ]
    return widgets.table(["Model", "Method", "Pairs scored"], rows, caption="Models that score these pairs")


def _progress(one: PairScoring) -> Html:
    words = f"{one.done:,} of {one.total:,}"
    if one.status is PairScoringStatus.FINISHED:
        unscored = f", {one.unscored:,} left out by the run" if one.unscored else ""
        return Markup("{}{}").format(words, unscored)
    if one.status is PairScoringStatus.FAILED:
        return Markup("{}<br>{}").format(widgets.status_badge("failed"), one.error or "")
    if one.status is PairScoringStatus.CANCELLED:
        return Markup("{} {}").format(widgets.status_badge("cancelled"), words)
    left = seconds_left(one)
    extra = f"about {formatting.duration(left)} left" if left is not None else "waits for a worker"
    return widgets.bar(one.done / max(1, one.total), words, extra)


# --- the list -----------------------------------------------------------------------------------


def orders(address: Address, counts: Mapping[Show, int], models: Sequence[PairScoring]) -> Html:
    """The orders, each a link with the number of its pairs, and what they mean."""
    links = [
        {
            "url": address.at(show=show),
            "label": _LABELS[show],
            "title": _meaning(show, len(models)),
            "count": f"{counts[show]:,}",
            "current": show == address.show,
        }
        for show in Show
    ]
    meaning = _meaning(Show(address.show), len(models))
    return render("pairs/orders.html", orders=links, note=meaning)


def _meaning(show: Show, models: int) -> str:
    of = "under the first model" if models > 1 else ""
    return (
        {
            Show.ALL: "In the order of the source.",
            Show.WRONG: f"Margin below zero {of}, the most negative first.",
            Show.SURE: f"Margin above zero {of}, the largest first.",
            Show.NEAR: f"The smallest distance from zero {of} first.",
            Show.MISLABELLED: "Both models prefer the rejected answer. The first model decides the order."
            if models > 1
            else f"Training pairs with a margin below -{STRONGLY:g}, the most negative first. "
            "A second model makes this surer.",
            Show.UNSCORED: "The run leaves these pairs out; each says why.",
        }[show]
        .replace(" ,", ",")
        .replace(" .", ".")
    )


def margins(models: Sequence[PairScoring]) -> Html:
    """What the margins are, in a sentence for each kind."""
    kinds = list(dict.fromkeys(_KINDS[model.margin_kind] for model in models))
    scales = "" if len({(m.margin_kind, m.beta) for m in models}) == 1 else " Their scales differ."
    said = f"A margin is {'; of the second model, '.join(kinds)}.{scales} {RIGHT} {CAUTION}"
    return Markup('<p class="hy-note">{}</p>').format(said)


def table(page: PairPage, address: Address) -> Html:
    """A page of pairs with a checkbox for each."""
    if not page.pairs:
        return widgets.notice("No pair matches. Choose another order, side or search.")
    heads = [f"Margin, {formatting.clip(model.run_name, 24)}" for model in page.scorings]
    rows = [_row(found, page.scorings, address) for found in page.pairs]
    choose = Markup('<span class="hy-sr">Choose</span>')
    columns = [choose, "Row", "Prompt", "Chosen", "Rejected", *heads]
    return widgets.table(columns, rows, caption="Pairs", numeric=range(5, 5 + len(heads)))


def _row(found: ScoredPair, models: Sequence[PairScoring], address: Address) -> list[object]:
    pair = found.pair
    box = Markup(
        '<input type="checkbox" class="hy-tick" data-pair="{}" aria-label="Choose the pair of row {}">'
    ).format(pair.position, pair.row)
    words = widgets.prompt_line(pair.prompt, EXCERPT) or "(empty)"
    opened = Markup('<a href="{}">{}</a>').format(address.at(after=address.after, pair=pair.position), words)
    return [
        box,
        Markup('{:,}<br><span class="hy-note">{}</span>').format(pair.row, _SIDES[pair.split]),
        opened,
        formatting.clip(pair.chosen, EXCERPT),
        formatting.clip(pair.rejected, EXCERPT),
        *(_margin(score) for _, score in zip(models, found.scores, strict=True)),
    ]


def _margin(score: PairScore | None) -> Html:
    if score is None or score.margin is None:
        reason = "It is not scored yet." if score is None else score.reason
        return render("pairs/margin.html", reason=reason, margin="", kind="", word="")
    kind, word = ("finished", "right") if score.margin > 0 else ("failed", "wrong")
    if score.margin == 0:
        kind, word = "queued", "even"
    return render(
        "pairs/margin.html", reason="", margin=formatting.number(score.margin), kind=kind, word=word
    )


def pages(page: PairPage, address: Address) -> Html:
    """Links to the first and to the next page."""
    return render(
        "pairs/pages.html",
        first=address.at() if address.after else "",
        next=address.at(after=page.following) if page.following else "",
    )


def whole(found: ScoredPair, models: Sequence[PairScoring], address: Address) -> Html:
    """One pair as a whole: both answers side by side, and its scores."""
    pair = found.pair
    return render(
        "pairs/whole.html",
        title=f"Row {pair.row:,}, {_SIDES[pair.split]}",
        close=address.at(after=address.after),
        prompt=widgets.messages(pair.prompt),
        chosen=widgets.escape(pair.chosen),
        rejected=widgets.escape(pair.rejected),
        scores=_scores(found, models),
    )


def _scores(found: ScoredPair, models: Sequence[PairScoring]) -> Html:
    rows = []
    for model, score in zip(models, found.scores, strict=True):
        if score is None or score.margin is None:
            reason = "It is not scored yet." if score is None else score.reason
            rows.append([name(model), reason, "", "", "", "", ""])
            continue
        numbers = (score.chosen, score.rejected, score.reference_chosen, score.reference_rejected)
        lengths = f"{score.chosen_tokens} / {score.rejected_tokens}"
        rows.append([name(model), _margin(score), *map(formatting.number, numbers), lengths])
    heads = ["Model", "Margin", "Chosen", "Rejected", "Reference, chosen", "Reference, rejected", "Tokens"]
    return widgets.table(heads, rows, caption="Log-probabilities or rewards", numeric=range(1, 7))


# --- the histogram ------------------------------------------------------------------------------


def histogram(found: Histogram, models: Sequence[PairScoring]) -> list[Figure]:
    """The margins of the models in one chart."""
    if not found.edges:
        return []
    middles = [(low + high) / 2 for low, high in zip(found.edges, found.edges[1:], strict=False)]
    data = []
    for model, counts in zip(models, found.counts, strict=True):
        tint = colour(model.method, look_of(model.run_id or 1))
        data.append(
            {
                "type": "bar",
                "x": middles,
                "y": counts,
                "name": formatting.clip(model.run_name, 40),
                "opacity": 0.6 if len(models) > 1 else 0.85,
                "marker": {"color": tint, "line": {"width": 1, "color": tint}},
                "hovertemplate": "%{y:,} pairs near %{x:.3g}",
            }
        )
    layout = {
        "uirevision": "margins",
        "xaxis": {"title": {"text": "margin", "standoff": 4}, "zeroline": True},
        "yaxis": {"title": {"text": "pairs"}, "automargin": True},
        "barmode": "overlay",
        "bargap": 0,
        "hovermode": "x",
        "showlegend": len(models) > 1,
        "legend": {"orientation": "h", "y": 1.12},
    }
    note = "Left of zero the model prefers the rejected answer. The outer bars hold everything beyond them."
    return [{"key": "margins", "title": "Margins", "note": note, "data": data, "layout": layout}]
