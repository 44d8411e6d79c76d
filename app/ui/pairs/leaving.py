"""The handlers that make a new version of the dataset without some pairs."""

import gradio as gr

from app import leaving_out, pair_scoring
from app.errors import AppError
from app.i18n import _, _html, _n
from app.leaving_out import NewVersion
from app.store import datasets, scored_pairs
from app.store.db import read_session
from app.store.scored_pairs import Filter
from app.ui import confirmation, formatting, widgets
from app.ui.pairs.address import Address
from app.ui.updates import Updates
from app.ui.widgets import Html

TICKED, ALL = "ticked", "all"


def positions(chosen: str | None) -> list[int]:
    """The ticked positions, checked, without repetitions."""
    found = (part.strip() for part in (chosen or "").split(",")[: leaving_out.MAX_POSITIONS])
    numbers = (int(part) for part in found if part.isascii() and part.isdigit() and len(part) <= 9)
    return list(dict.fromkeys(numbers))


def enable(chosen: str | None) -> Updates:
    """Enable the button of the ticked pairs, labelled with their number."""
    number = len(positions(chosen))
    label = _("Leave out the {n} ticked", n=f"{number:,}") if number else _("Leave out the ticked")
    return {"ticked": gr.update(interactive=number > 0, value=label)}


def ask_ticked(chosen: str | None, request: gr.Request) -> Updates:
    """Ask for confirmation before leaving out the ticked pairs."""
    return _ask(len(positions(chosen)), TICKED, Address.of(request))


def ask_all(request: gr.Request) -> Updates:
    """Ask for confirmation before leaving out all pairs of the filter."""
    address = Address.of(request)
    try:
        with read_session() as session:
            wanted = _filter(address)
            number = scored_pairs.count(address.dataset, wanted, session=session)
    except AppError as error:
        return {"message": widgets.error_banner(str(error))}
    return _ask(number, ALL, address)


def _ask(number: int, wanted: str, address: Address) -> Updates:
    if not number:
        return {"message": widgets.notice(_("No pair matches, so there is nothing to leave out."))}
    with read_session() as session:
        dataset = datasets.get(address.dataset, session=session)
    sentence = _n(
        "Make a new version of {name} without {n} pair? It keeps the other {others}, each on its side of the "
        "split. The old version stays, so deleting the new one undoes it.",
        "Make a new version of {name} without {n} pairs? It keeps the other {others}, each on its side of "
        "the split. The old version stays, so deleting the new one undoes it.",
        number,
        name=dataset.name,
        others=f"{dataset.rows - number:,}",
    )
    yes = _n("Yes, leave out {n} pair", "Yes, leave out {n} pairs", number)
    asked = confirmation.ask(sentence, yes=yes, wanted=wanted)
    return {**asked, "told": number, "message": ""}


def confirmed(wanted: str, told: float, chosen: str | None, request: gr.Request) -> Updates:
    """Make the new version; then the page goes on to Launch."""
    closed = {"confirm": gr.update(visible=False), "wanted": ""}
    address = Address.of(request)
    try:
        if wanted == ALL:
            made = leaving_out.leave_out_filtered(address.dataset, _filter(address), expected=int(told))
        else:
            made = leaving_out.leave_out(address.dataset, positions(chosen))
    except AppError as error:
        return {**closed, "message": widgets.error_banner(str(error))}
    return {**closed, "message": made_notice(made)}


def _filter(address: Address) -> Filter:
    with read_session() as session:
        return pair_scoring.checked_filter(
            address.dataset,
            address.scorings,
            session=session,
            show=address.show,
            split=address.split,
            search=address.search,
        )


def made_notice(made: NewVersion) -> Html:
    """A notice with links to the new version."""
    words = _html(
        "{name} version {version} has {pairs}.",
        name=made.name,
        version=made.version,
        pairs=formatting.count(made.rows, "pair"),
    )
    links = Html(" {} · {}").format(
        widgets.link(_("Launch a run on it"), "launch", dataset=made.id),
        widgets.link(_("Look at it"), "datasets", id=made.id),
    )
    return widgets.notice(words + links, "good")
