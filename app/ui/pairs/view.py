"""Scored pairs as HTML: the models, the orders, the table, and one whole pair."""

from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup

from app import weights
from app.i18n import N_, _, in_language
from app.pair_scoring import PairPage, seconds_left
from app.store.datasets import pair_of
from app.store.enums import MarginKind, PairScoringStatus, Split
from app.store.models import DatasetPair, PairScore, PairScoring
from app.store.scored_pairs import STRONGLY, ScoredPair, Show
from app.templates import render
from app.ui import formatting, widgets
from app.ui.pairs.address import Address
from app.ui.widgets import Html

EXCERPT: Final = 120
RIGHT: Final = N_("A pair is right if its margin is above zero.")
CAUTION: Final = N_(
    "A model that was trained on a pair fits it, so a positive margin on a training pair says little, and a "
    "negative one is a hint, no proof, that the label is wrong."
)
_LABELS: Final = {
    Show.ALL: N_("All"),
    Show.WRONG: N_("Still wrong"),
    Show.SURE: N_("Most sure"),
    Show.NEAR: N_("Closest to zero"),
    Show.MISLABELLED: N_("Probably mislabelled"),
    Show.UNSCORED: N_("Not scored"),
}
_MEANINGS: Final = {
    Show.ALL: N_("In the order of the source."),
    Show.WRONG: N_("Margin below zero, the most negative first."),
    Show.SURE: N_("Margin above zero, the largest first."),
    Show.NEAR: N_("The smallest distance from zero first."),
    Show.MISLABELLED: N_(
        "Training pairs with a margin below -{least}, the most negative first. A second model makes this "
        "surer."
    ),
    Show.UNSCORED: N_("The run leaves these pairs out; each says why."),
}
_OF_TWO: Final = _MEANINGS | {
    Show.WRONG: N_("Margin below zero under the first model, the most negative first."),
    Show.SURE: N_("Margin above zero under the first model, the largest first."),
    Show.NEAR: N_("The smallest distance from zero under the first model first."),
    Show.MISLABELLED: N_("Both models prefer the rejected answer. The first model decides the order."),
}
_KINDS: Final = {
    MarginKind.RELATIVE: N_("β times the difference of the answers' log-ratios to the reference"),
    MarginKind.PER_TOKEN: N_("the difference of the answers' mean log-probabilities per token"),
    MarginKind.REWARD: N_("the difference of the answers' rewards"),
}
_SIDES: Final = {Split.TRAIN: N_("training"), Split.HELD_OUT: N_("held out"), Split.VOTED: N_("voted on")}


def name(scoring: PairScoring) -> str:
    """A scoring's model in words."""
    shown = {"name": formatting.clip(scoring.run_name, 60), "step": scoring.step}
    if scoring.run_id is None:
        return _("{name} (a deleted run, step {step})", **shown)
    return _("{name} (run {id}, step {step})", id=scoring.run_id, **shown)


def scorings(found: Sequence[PairScoring]) -> Html:
    """The models that score the pairs, with their progress."""
    if not found:
        return widgets.NOTHING
    rows = [
        (
            widgets.link(name(one), "run", id=one.run_id) if one.run_id else name(one),
            widgets.method_badge(one.method, run=one.run_id),
            _progress(one),
        )
        for one in found
    ]
    headers = [_("Model"), _("Method"), _("Pairs scored")]
    return widgets.table(headers, rows, caption=_("Models that score these pairs"))


def _progress(one: PairScoring) -> Html:
    words = _("{n} of {total}", n=f"{one.done:,}", total=f"{one.total:,}")
    if one.status is PairScoringStatus.FINISHED:
        if one.unscored:
            words = _("{scored}, {n} left out by the run", scored=words, n=f"{one.unscored:,}")
        return widgets.escape(words)
    if one.status is PairScoringStatus.FAILED:
        return Markup("{}<br>{}").format(widgets.status_badge("failed"), in_language(one.error or ""))
    if one.status is PairScoringStatus.CANCELLED:
        return Markup("{} {}").format(widgets.status_badge("cancelled"), words)
    left = seconds_left(one)
    extra = _("waits for a worker")
    if left is not None:
        extra = _("about {time} left", time=formatting.duration(left))
    return widgets.bar(one.done / max(1, one.total), words, extra)


# --- the list -----------------------------------------------------------------------------------


def orders(address: Address, counts: Mapping[Show, int], models: Sequence[PairScoring]) -> Html:
    """The orders, each a link with the number of its pairs, and what they mean."""
    links = [
        {
            "url": address.at(show=show),
            "label": _(_LABELS[show]),
            "title": _meaning(show, len(models)),
            "count": f"{counts[show]:,}",
            "current": show == address.show,
        }
        for show in Show
    ]
    meaning = _meaning(Show(address.show), len(models))
    return render("pairs/orders.html", orders=links, note=meaning)


def _meaning(show: Show, models: int) -> str:
    meaning = (_OF_TWO if models > 1 else _MEANINGS)[show]
    return _(meaning, least=f"{STRONGLY:g}")


def margins(models: Sequence[PairScoring]) -> Html:
    """What the margins are, in a sentence for each kind."""
    first, *other = dict.fromkeys(_(_KINDS[model.margin_kind]) for model in models)
    if other:
        said = [_("A margin is {first}; of the second model, {second}.", first=first, second=other[0])]
    else:
        said = [_("A margin is {meaning}.", meaning=first)]
    if len({(model.margin_kind, model.beta) for model in models}) > 1:
        said.append(_("Their scales differ."))
    return Markup('<p class="hy-note">{}</p>').format(" ".join([*said, _(RIGHT), _(CAUTION)]))


def table(page: PairPage, address: Address) -> Html:
    """A page of pairs with a checkbox for each."""
    if not page.pairs:
        return widgets.notice(_("No pair matches. Choose another order, side or search."))
    heads = [_("Margin, {name}", name=formatting.clip(model.run_name, 24)) for model in page.scorings]
    rows = [_row(found, page.scorings, address) for found in page.pairs]
    choose = Markup('<span class="hy-sr">{}</span>').format(_("Choose"))
    columns = [choose, _("Row"), _("Prompt"), _("Chosen"), _("Rejected"), *heads]
    return widgets.table(columns, rows, caption=_("Pairs"), numeric=range(5, 5 + len(heads)))


def _row(found: ScoredPair, models: Sequence[PairScoring], address: Address) -> list[object]:
    pair = found.pair
    box = Markup('<input type="checkbox" class="hy-tick" data-pair="{}" aria-label="{}">').format(
        pair.position, _("Choose the pair of row {n}", n=pair.row)
    )
    words = widgets.prompt_line(pair.prompt, EXCERPT) or _("(empty)")
    opened = Markup('<a href="{}" translate="no">{}</a>').format(
        address.at(after=address.after, pair=pair.position), words
    )
    return [
        box,
        Markup('{:,}<br><span class="hy-note">{}</span>').format(pair.row, _about(pair)),
        opened,
        widgets.written(pair.chosen, EXCERPT) if pair.chosen else widgets.stored_answer(""),
        widgets.written(pair.rejected, EXCERPT) if pair.rejected else widgets.stored_answer(""),
        *(_margin(score) for score in found.scores[: len(models)]),
    ]


def _about(pair: DatasetPair) -> Html:
    """A pair's side of the split, its weight and its margin."""
    return widgets.join([_(_SIDES[pair.split]), *weights.of_pair(pair_of(pair))], "<br>")


def _margin(score: PairScore | None) -> Html:
    if score is None or score.margin is None:
        return render("pairs/margin.html", reason=_reason(score), margin="", kind="", word="")
    kind, word = ("finished", _("right")) if score.margin > 0 else ("failed", _("wrong"))
    if score.margin == 0:
        kind, word = "queued", _("even")
    return render(
        "pairs/margin.html", reason="", margin=formatting.number(score.margin), kind=kind, word=word
    )


def _reason(score: PairScore | None) -> str:
    """Why a pair has no margin."""
    return _("It is not scored yet.") if score is None else in_language(score.reason or "")


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
        title=_("Row {n}, {side}", n=f"{pair.row:,}", side=_(_SIDES[pair.split])),
        notes=weights.of_pair(pair_of(pair)),
        close=address.at(after=address.after),
        prompt=widgets.messages(pair.prompt),
        chosen=widgets.stored_answer(pair.chosen),
        rejected=widgets.stored_answer(pair.rejected),
        scores=_scores(found, models),
    )


def _scores(found: ScoredPair, models: Sequence[PairScoring]) -> Html:
    rows = []
    for model, score in zip(models, found.scores, strict=True):
        if score is None or score.margin is None:
            rows.append([name(model), _reason(score), "", "", "", "", ""])
            continue
        numbers = (score.chosen, score.rejected, score.reference_chosen, score.reference_rejected)
        lengths = f"{score.chosen_tokens} / {score.rejected_tokens}"
        rows.append([name(model), _margin(score), *map(formatting.number, numbers), lengths])
    heads = [
        *(_("Model"), _("Margin"), _("Chosen"), _("Rejected")),
        *(_("Reference, chosen"), _("Reference, rejected"), _("Tokens")),
    ]
    return widgets.table(heads, rows, caption=_("Log-probabilities or rewards"), numeric=range(1, 7))
