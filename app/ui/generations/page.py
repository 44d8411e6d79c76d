"""The page of generations: `generations?text=summer` searches, `generations?id=7` shows one text.

The address holds filters, order, place and text, so that a reload or the back button shows the same again.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import gradio as gr

from app import generations
from app.errors import AppError, InvalidInput, NotFound
from app.i18n import N_, _, in_language
from app.store import runs
from app.store.db import read_session
from app.store.generation_filter import Place
from app.ui import events, formatting, query, widgets
from app.ui.compare.actions import showing_errors
from app.ui.generations import detail, listing
from app.ui.generations.address import NEWEST, Asked
from app.ui.generations.layout import lay_out, list_header, one_header
from app.ui.generations.opening import opening
from app.ui.opening import on_open
from app.ui.updates import Updates, connect, named, pick
from app.ui.widgets import Html

OFFERED_RUNS = 100

_ADDRESS = """(text, prompt, run, kind, steps, sort, campaign) => hySetQuery({
  text, prompt, run: run.join(','), kind, steps, sort: sort === 'NEWEST' ? '' : sort, campaign, after: ''
}, true)""".replace("NEWEST", NEWEST)
_QUIET: dict[str, Any] = {**events.QUIET, "concurrency_limit": None}


def build() -> None:
    """Lay out the page, then wire its events."""
    page = lay_out()
    filters = page.filters
    shown = pick(named(page), "header", "body", "browse", "found", "compare")
    on_open(N_("Generations"), open_page, None, {**shown, **named(filters)})
    asked = [filters.text.submit, filters.prompt.submit, filters.steps.submit, page.search.click]
    chosen = [field.input for field in (filters.run, filters.kind, filters.sort)]
    searched = partial(gr.on, [*asked, *chosen])
    listed = connect(
        searched, search, filters.inputs, {"found": page.found}, trigger_mode="always_last", **_QUIET
    )
    listed.then(None, filters.inputs, None, js=_ADDRESS)
    page.chosen.change(enable, page.chosen, page.compare, **_QUIET)
    page.compare.click(compare, page.chosen, page.message, trigger_mode="once", **_QUIET)


# --- handlers --------------------------------------------------------------------------------


def open_page(request: gr.Request | None = None) -> Updates:
    """Show what the address asks for: one text, or a page of the list."""
    user, asked = query.username(request), Asked.of_address(request)
    wanted = query.value(request, "id")
    if wanted:
        return _one(wanted, asked, user)
    place = query.value(request, "after")
    fields = {name: getattr(asked, name) for name in ("text", "prompt", "kind", "steps", "sort", "campaign")}
    return {
        "header": list_header(),
        "body": gr.update(visible=True),
        "browse": gr.update(visible=True),
        "found": _found(asked, user, place),
        "compare": gr.update(visible=True, interactive=False),
        "run": gr.update(choices=_offered(asked.run_ids), value=asked.run_ids),
        **fields,
    }


def _one(wanted: str, asked: Asked, user: str) -> Updates:
    ids = query.to_ids(wanted)
    try:
        if not ids:
            raise NotFound(_("The address names no generation."))
        with read_session() as session:
            found = detail.shown(ids[0], asked, user, session=session)
    except AppError as error:
        found = widgets.empty_state(
            _("No such text"),
            in_language(str(error)),
            widgets.link_button(_("All texts"), "generations", primary=True),
        )
        header, comparable = list_header(), False
    else:
        header, comparable = one_header(ids[0]), True
    return {
        "header": header,
        "body": gr.update(visible=True),
        "browse": gr.update(visible=False),
        "found": found,
        "compare": gr.update(visible=comparable),
    }


def _offered(chosen: Sequence[int]) -> list[tuple[str, int]]:
    """The newest runs and the chosen ones, by name."""
    with read_session() as session:
        found = list(runs.find(session=session, limit=OFFERED_RUNS))
        known = {run.id for run in found}
        found += runs.of_ids([key for key in chosen if key not in known], session=session)
    return [(f"#{run.id} {formatting.clip(run.name, 60)}", run.id) for run in found]


def search(
    text: str,
    prompt: str,
    run: Sequence[int],
    kind: str,
    steps: str,
    sort: str,
    campaign: str,
    request: gr.Request | None = None,
) -> Updates:
    """Show the first page of what the fields ask for."""
    asked = Asked.of_fields(text, prompt, run, kind, steps, sort, campaign)
    return {"found": _found(asked, query.username(request), "")}


def _found(asked: Asked, user: str, place: str) -> Html:
    try:
        with read_session() as session:
            return listing.listed(asked, user, session=session, after=Place.read(place))
    except InvalidInput as error:
        return listing.problem(str(error))


def enable(chosen: str) -> Any:
    """Enable the comparison when two texts are ticked."""
    return gr.update(interactive=len(query.to_ids(chosen)) == 2)


def compare(chosen: str, request: gr.Request | None = None) -> Html:
    """Make a comparison of the ticked texts and open it."""
    comparison = showing_errors(
        lambda: generations.compare(query.to_ids(chosen), user=query.username(request))
    )
    return opening(comparison.conversation_id)
