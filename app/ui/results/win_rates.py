"""The win rates of the results page, one page at a time."""

from collections.abc import Sequence

import gradio as gr

from app.board import PAGE_RECORDS, Record, read_records
from app.store.db import read_session
from app.ui import paging, query
from app.ui.results import view as results_view
from app.ui.updates import Updates


def of(found: Sequence[Record], number: int, count: int) -> Updates:
    """Updates of a page of the win rates and its pager."""
    if not found:
        return {"board": "", **paging.state(0, PAGE_RECORDS, 0, more=False, name="records")}
    more = number * PAGE_RECORDS + len(found) < count
    pager = paging.state(number, PAGE_RECORDS, len(found), more=more, name="records")
    return {"board": results_view.win_rates(found, count), **pager}


def show(page: float, request: gr.Request | None = None) -> Updates:
    """Show a page of the win rates."""
    number = paging.number_of(page)
    with read_session() as session:
        found, count = read_records(
            session=session,
            limit=PAGE_RECORDS,
            offset=number * PAGE_RECORDS,
            viewer=query.username(request),
        )
    return of(found, number, count)


def back(page: float, request: gr.Request | None = None) -> Updates:
    return show(page - 1, request)


def on(page: float, request: gr.Request | None = None) -> Updates:
    return show(page + 1, request)
