"""Handlers of the list of campaigns."""

import gradio as gr

from app import campaigns
from app.store.enums import CampaignStatus
from app.ui import events, paging
from app.ui.campaigns import view
from app.ui.updates import Updates

PAGE_ROWS = 30


def show(page: float, seen: str = "") -> Updates:
    """A page of the list, if it differs from the one already shown."""
    number = paging.number_of(page)
    found = campaigns.overviews(limit=PAGE_ROWS + 1, offset=number * PAGE_ROWS)
    shown = found[:PAGE_ROWS]
    table = view.campaign_table(shown) if shown else view.nothing_yet()
    if table == seen:
        return {}
    open_ones = [found for found in shown if found.campaign.status is CampaignStatus.OPEN]
    return {
        "table": table,
        "seen": str(table),
        "timer": _pace(busy=any(found.progress.unwritten for found in open_ones), live=bool(open_ones)),
        **paging.state(number, PAGE_ROWS, len(shown), more=len(found) > PAGE_ROWS),
    }


def newer(page: float) -> Updates:
    return show(page - 1)


def older(page: float) -> Updates:
    return show(page + 1)


def _pace(*, busy: bool, live: bool) -> gr.Timer:
    """Look every 2 s while answers are written, every 10 s while people may vote, else not."""
    return events.pace(busy=busy) if live else gr.Timer(active=False)
