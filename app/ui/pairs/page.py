"""The page of a dataset's pairs under models: `pairs?dataset=3`. The address holds the whole state."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import gradio as gr
from sqlalchemy.orm import Session

from app import pair_scoring
from app.errors import AppError, NotFound
from app.i18n import N_, _, in_language
from app.presence import worker_missing
from app.store import datasets, pair_scorings, run_checkpoints, runs, scored_pairs
from app.store.db import read_session
from app.store.enums import PairScoringStatus
from app.store.models import Dataset, PairScoring, Run
from app.store.scored_pairs import Filter, Show
from app.ui import confirmation, events, formatting, query, widgets
from app.ui.charts import Figure
from app.ui.opening import on_open
from app.ui.pairs import histograms, leaving, view
from app.ui.pairs.address import Address
from app.ui.pairs.layout import Layout, lay_out
from app.ui.updates import Updates, connect, named, pick
from app.ui.widgets import Html
from hypo_engine.config import Method

PAIRS_PER_PAGE: Final = 25
MOST_RUNS: Final = 200
Seen = tuple[Any, ...]
_SCORE: Final = N_("Score the pairs")
_BUTTONS: Final = {
    PairScoringStatus.QUEUED: N_("Cancel"),
    PairScoringStatus.FAILED: N_("Continue"),
    PairScoringStatus.CANCELLED: N_("Continue"),
    PairScoringStatus.FINISHED: _SCORE,
}

_MODELS = """(first, second) => {
  hySetQuery({ scorings: [first, second].filter(Boolean).join(','), after: '', pair: '' }, true);
  location.reload();
}"""
_FILTER = """(split, q) => {
  hySetQuery({ split, q: q.trim(), after: '', pair: '' }, true);
  location.reload();
}"""
_FORGET = """() => { if (document.querySelector('#pairs-left .hy-good')) window.hyForgetPairs?.(); }"""


def build() -> None:
    """Lay out the page, then wire its events."""
    page = lay_out()
    _wire_list(page)
    _wire_leaving(page)


def _wire_list(page: Layout) -> None:
    models, listing = page.models, page.listing
    shown = {
        **pick(named(page), "header", "body", "seen"),
        **pick(named(models), "models", "run", "act", "said"),
        **pick(named(listing), "listing", "first", "second", "meaning", "chart", "orders", "split", "search"),
        **pick(named(listing), "whole", "table", "pages"),
        **pick(named(page.leaving), "all"),
    }
    on_open(N_("Pairs under models"), show, None, shown)
    polled = pick(shown, "models", "run", "act", "said", "seen", "listing")
    timer = gr.Timer(events.BUSY_SECONDS)
    connect(partial(events.tick, timer), look_again, [page.seen, models.run], {**polled, "timer": timer})
    connect(models.run.input, choose, models.run, pick(shown, "act"), **events.QUIET)
    acted = connect(
        models.act.click, act, models.run, pick(shown, "said"), trigger_mode="once", **events.QUIET
    )
    connect(acted.then, look_again, [page.seen, models.run], {**polled, "timer": timer}, **events.QUIET)
    chosen = [listing.first, listing.second]
    gr.on([field.input for field in chosen], None, chosen, None, js=_MODELS)
    gr.on(
        [listing.split.input, listing.search.submit], None, [listing.split, listing.search], None, js=_FILTER
    )


def _wire_leaving(page: Layout) -> None:
    parts, chosen = page.leaving, page.listing.chosen
    asked = {
        **pick(named(parts.confirmation), "confirm", "question", "yes", "wanted"),
        **pick(named(parts), "told", "message"),
    }
    connect(chosen.change, leaving.enable, chosen, pick(named(parts), "ticked"), **events.QUIET)
    connect(parts.ticked.click, leaving.ask_ticked, chosen, asked, **events.QUIET)
    connect(parts.all.click, leaving.ask_all, None, asked, **events.QUIET)
    question = parts.confirmation
    question.no.click(confirmation.closed, None, [question.confirm, question.wanted], **events.QUIET)
    done = connect(
        question.yes.click,
        leaving.confirmed,
        [question.wanted, parts.told, chosen],
        pick(asked, "confirm", "wanted", "message"),
        trigger_mode="once",
        show_progress_on=parts.message,
        api_visibility="private",
        concurrency_limit=2,
    )
    done.then(None, None, None, js=_FORGET)


# --- handlers -----------------------------------------------------------------------------------


def show(request: gr.Request) -> Updates:
    """Show the page that the address asks for."""
    try:
        address = Address.of(request)
        with read_session() as session:
            dataset = datasets.get(address.dataset, session=session)
            return {
                "header": _header(dataset),
                "body": gr.update(visible=True),
                **_models(address, session, chosen=address.run),
                **_listing(address, session),
            }
    except NotFound as error:
        gone = widgets.empty_state(
            _("There is no such dataset"),
            in_language(str(error)).split(";")[0],
            widgets.link_button(_("All datasets"), "datasets", primary=True),
        )
        header = widgets.page_header(_("Dataset not found")) + gone
        return {"header": header, "body": gr.update(visible=False)}


def _header(dataset: Dataset) -> Html:
    lead = _(
        "Version {version}, {pairs}. What trained models say about each pair.",
        version=dataset.version,
        pairs=formatting.count(dataset.rows, "pair"),
    )
    back = widgets.link_button(_("The dataset"), "datasets", id=dataset.id)
    return widgets.page_header(_("{name}: pairs under models", name=dataset.name), lead, back)


def look_again(seen: Seen, run: int | None, request: gr.Request) -> Updates:
    """Update the models' progress; stop the timer once no scoring waits."""
    try:
        address = Address.of(request)
        with read_session() as session:
            found = pair_scoring.of_dataset(address.dataset, session=session)
            now = _fingerprint(found)
            busy = any(one.status is PairScoringStatus.QUEUED for one in found)
            updates: Updates = {"timer": events.pace(busy=busy)}
            if now == seen:
                return updates
            updates |= _models(address, session, chosen=run or 0)
    except NotFound:
        return {"timer": gr.Timer(active=False)}
    ready = widgets.link(_("Show the scored pairs"), "pairs", dataset=address.dataset)
    if not address.scorings and any(one.done for one in found):
        updates["said"] = widgets.notice(ready, "good")
    return updates


def _fingerprint(found: Sequence[PairScoring]) -> Seen:
    return tuple((one.id, one.status.value, one.done, one.run_id) for one in found)


# --- the models ---------------------------------------------------------------------------------


def _models(address: Address, session: Session, *, chosen: int) -> Updates:
    found = pair_scoring.of_dataset(address.dataset, session=session)
    there = _runs(session)
    by_run = {one.run_id: one for one in found}
    choices = [(_run_title(run, by_run.get(run.id)), run.id) for run in there]
    ids = [run.id for run in there]
    value = chosen if chosen in ids else next((i for i in ids if i not in by_run), ids[0] if ids else None)
    return {
        "models": view.scorings(found) if found else _none_yet(bool(there)),
        "run": gr.update(choices=choices, value=value, visible=bool(choices)),
        "act": _button(by_run.get(value), value),
        "said": _worker_note(found),
        "seen": _fingerprint(found),
    }


def _runs(session: Session) -> list[Run]:
    """The newest runs that can score pairs."""
    over = [run for run in runs.find(session=session, limit=MOST_RUNS) if run.status.is_over]
    return [run for run in over if run_checkpoints.last(run.id, session=session) is not None]


def _run_title(run: Run, scoring: PairScoring | None) -> str:
    state = f" ({_(scoring.status.value)})" if scoring is not None else ""
    return f"{run.id}: {formatting.clip(run.name, 60)}{state}"


def _none_yet(any_run: bool) -> Html:
    if any_run:
        return widgets.empty_state(
            _("No model has scored these pairs yet"),
            _("Choose a run below. A worker computes the log-probabilities of both answers of each pair."),
        )
    return widgets.empty_state(
        _("There is no trained model yet"),
        _("Pairs are scored by the checkpoint of a run that is over."),
        widgets.link_button(_("Launch a run"), "launch", primary=True),
    )


def _worker_note(found: Sequence[PairScoring]) -> Html:
    waiting = any(one.status is PairScoringStatus.QUEUED for one in found)
    missing = worker_missing("generate") if waiting else None
    return widgets.notice(missing, "warning") if missing else widgets.NOTHING


def _button(scoring: PairScoring | None, run: int | None) -> Any:
    label = _(_BUTTONS[scoring.status] if scoring is not None else _SCORE)
    finished = scoring is not None and scoring.status is PairScoringStatus.FINISHED
    return gr.update(value=label, interactive=run is not None and not finished, visible=run is not None)


def choose(run: int | None, request: gr.Request) -> Updates:
    """Label the button for the chosen run."""
    with read_session() as session:
        return {"act": _button(_scoring_of(Address.of(request).dataset, run, session), run)}


def act(run: int | None, request: gr.Request) -> Updates:
    """Score the pairs under the chosen run, continue, or cancel."""
    dataset_id = Address.of(request).dataset
    if run is None:
        return {"said": widgets.error_banner(_("Choose a run first."))}
    with read_session() as session:
        present = _scoring_of(dataset_id, run, session)
    try:
        if present is not None and present.status is PairScoringStatus.QUEUED:
            pair_scoring.cancel(present.id)
        else:
            pair_scoring.start(dataset_id, int(run), user=query.username(request))
    except AppError as error:
        return {"said": widgets.error_banner(str(error))}
    return {"said": widgets.NOTHING}


def _scoring_of(dataset_id: int, run: int | None, session: Session) -> PairScoring | None:
    checkpoint = run_checkpoints.last(int(run), session=session) if run is not None else None
    return pair_scorings.find(dataset_id, checkpoint.id, session=session) if checkpoint else None


# --- the list -----------------------------------------------------------------------------------


def _listing(address: Address, session: Session) -> Updates:
    usable = [one for one in pair_scoring.of_dataset(address.dataset, session=session) if one.done]
    if not usable:
        return {"listing": gr.update(visible=False)}
    try:
        wanted = pair_scoring.checked_filter(
            address.dataset,
            address.scorings,
            session=session,
            show=address.show,
            split=address.split,
            search=address.search,
        )
        page = pair_scoring.page(
            address.dataset, wanted, session=session, limit=PAIRS_PER_PAGE, after=address.after
        )
    except AppError as error:
        return {"listing": gr.update(visible=False), "said": _cannot(address, error)}
    models = page.scorings
    choices = [(view.name(one), str(one.id)) for one in usable]
    second = str(models[1].id) if len(models) > 1 else ""
    counts = pair_scoring.counts(address.dataset, wanted, session=session)
    return {
        "listing": gr.update(visible=True),
        "first": gr.update(choices=choices, value=str(models[0].id)),
        "second": gr.update(choices=[(_("none"), ""), *choices], value=second, visible=len(usable) > 1),
        "meaning": view.margins(models),
        "chart": _charts(wanted, models, session),
        "orders": view.orders(address, counts, models),
        "split": address.split,
        "search": wanted.search,
        "whole": _whole(address, models, session),
        "table": view.table(page, address),
        "pages": view.pages(page, address),
        "all": _all_button(address, counts),
    }


def _charts(wanted: Filter, models: Sequence[PairScoring], session: Session) -> list[Figure]:
    """The margins, and the rewards under each reward model."""
    found = histograms.margins(pair_scoring.histogram(wanted, session=session), models)
    for model in models:
        if model.method == Method.REWARD:
            found += histograms.rewards(pair_scoring.reward_histogram(model.id, session=session), model)
    return found


def _cannot(address: Address, error: AppError) -> Html:
    again = widgets.link(_("Show all pairs"), "pairs", dataset=address.dataset)
    sentence = widgets.with_commands(in_language(str(error)))
    return widgets.error_banner(Html("{} {}").format(sentence, again))


def _all_button(address: Address, counts: Mapping[Show, int]) -> Any:
    """The button that leaves out all pairs; without a side or a search their number is known."""
    if address.split or address.search:
        return gr.update(value=_("Leave out all of these"), interactive=True)
    number = counts[Show(address.show)]
    some = 0 < number < counts[Show.ALL]
    label = _("Leave out all of these")
    if some:
        label = _("Leave out all {n} of these", n=f"{number:,}")
    return gr.update(value=label, interactive=some)


def _whole(address: Address, models: Sequence[PairScoring], session: Session) -> Html:
    if address.pair is None:
        return widgets.NOTHING
    ids = [model.id for model in models]
    found = scored_pairs.of_position(address.dataset, ids, address.pair, session=session)
    if found is None:
        return widgets.notice(_("The dataset has no pair {number}.", number=address.pair))
    return view.whole(found, models, address)
