"""One dataset version: pairs, rows left out, preflight check, token lengths."""

import gradio as gr

from app.i18n import _
from app.lengths import token_lengths
from app.preflight import check_pairs
from app.settings import get_settings
from app.store import datasets
from app.store.db import read_session
from app.store.enums import Split
from app.text import clean_text
from app.tokens import token_counter
from app.ui import formatting, length_charts, query, widgets
from app.ui.datasets import view as dataset_view
from app.ui.widgets import Html

PAIRS_PER_PAGE = 10
LINES_PER_PAGE = 50


def dataset_id(request: gr.Request | None) -> int | None:
    """The dataset id in the page's address, as in `datasets?id=3`."""
    ids = query.ids(request, "id")
    return ids[0] if ids else None


def show_pairs(split: str, search: str | None, page: float | None, request: gr.Request) -> tuple[Html, Html]:
    """A page of pairs, and the number of pages."""
    wanted_id = dataset_id(request)
    if wanted_id is None:
        return widgets.NOTHING, widgets.NOTHING
    side, wanted = Split(split) if split else None, clean_text(search or "").strip()
    offset = (_page(page) - 1) * PAIRS_PER_PAGE
    with read_session() as session:
        total = datasets.count_pairs(wanted_id, session=session, split=side, search=wanted)
        rows = datasets.page_of_pairs(
            wanted_id, session=session, offset=offset, limit=PAIRS_PER_PAGE, split=side, search=wanted
        )
    words = f"{formatting.count(total, 'pair')}, {formatting.count(-(-total // PAIRS_PER_PAGE), 'page')}"
    shown = dataset_view.pair_list(rows, token_counter(get_settings()))
    return shown, Html('<p class="hy-note">{}</p>').format(words)


def show_left_out(page: float | None, request: gr.Request) -> Html:
    """A page of the rows that were left out."""
    wanted_id = dataset_id(request)
    if wanted_id is None:
        return widgets.NOTHING
    offset = (_page(page) - 1) * LINES_PER_PAGE
    with read_session() as session:
        lines = datasets.page_of_left_out(wanted_id, session=session, offset=offset, limit=LINES_PER_PAGE)
    if not lines and offset:
        return widgets.notice(_("There are no more."))
    return dataset_view.left_out_list(lines)


def show_check(request: gr.Request) -> Html:
    """The preflight check of the pairs."""
    wanted_id = dataset_id(request)
    if wanted_id is None:
        return widgets.NOTHING
    with read_session() as session:
        account = datasets.account_of(wanted_id, session=session)
        return dataset_view.preflight(check_pairs(datasets.iter_pairs(wanted_id, session=session)), account)


def show_lengths(request: gr.Request) -> Html:
    """Token lengths of the pairs, and the share that common limits keep."""
    wanted_id = dataset_id(request)
    if wanted_id is None:
        return widgets.NOTHING
    found = token_lengths(wanted_id, "demo")
    if found is None:
        return widgets.notice(
            _("Token lengths appear after the first use of the demo model, which unpacks it.")
        )
    return length_charts.distribution(found, _("the demo model"))


def _page(value: float | None) -> int:
    return min(max(int(value or 1), 1), 10**6)
