"""The analysis and the list of the votes."""

import gradio as gr

from app import answers
from app.board import read_board
from app.i18n import _
from app.store import campaigns, label_queries, runs
from app.store.db import read_session
from app.store.enums import Choice
from app.store.label_queries import VoteFilter
from app.ui import paging, query, widgets
from app.ui.compare.actions import showing_errors
from app.ui.results import export, ranking, win_rates
from app.ui.results import view as results_view
from app.ui.results.layout import ALL
from app.ui.updates import Updates

PAGE_ROWS = 20
MOST_CAMPAIGNS = 200


def overview(request: gr.Request | None = None) -> Updates:
    """Updates of the board, the counts and the first page of the list."""
    user = query.username(request)
    with read_session() as session:
        board = read_board(session=session, viewer=user)
        people = label_queries.voters(session=session)
        known = runs.find(session=session)
        asked = campaigns.recent(session=session, limit=MOST_CAMPAIGNS)
    if board.votes + board.hidden == 0:
        nothing = gr.update(value=results_view.nothing_yet(), visible=True)
        return {"empty": nothing, "body": gr.update(visible=False)}
    of_campaigns = [(f"#{one.id} {one.name}", str(one.id)) for one in asked]
    of_runs = [(f"#{run.id} {run.name}", str(run.id)) for run in known]
    return {
        "empty": gr.update(visible=False),
        "body": gr.update(visible=True),
        "hidden": gr.update(value=results_view.names_hidden(board.hidden), visible=board.hidden > 0),
        "show_names": gr.update(visible=board.hidden > 0),
        **ranking.show(request=request),
        **win_rates.of(board.records, 0, board.record_count),
        "habits": results_view.habits(board) if board.votes else "",
        "counts": export.counts(False),
        "campaign": gr.update(choices=[(_("any campaign"), ALL), *of_campaigns], value=ALL),
        "of_run": gr.update(choices=[(_("any run"), ALL), *of_runs], value=ALL),
        "who": gr.update(choices=[(_("everybody"), ALL), *((name, name) for name in people)], value=ALL),
        "run": gr.update(choices=[(_("any run"), ALL), *of_runs], value=ALL),
        **list_votes(ALL, ALL, ALL, 0, request),
    }


def show_names(request: gr.Request | None = None) -> Updates:
    """Reveal the names of all votes; the reader's later votes on these comparisons do not count as blind."""
    user = query.username(request)
    showing_errors(lambda: answers.show_all_names(user=user))
    return overview(request)


def list_votes(who: str, verdict: str, run: str, page: float, request: gr.Request | None = None) -> Updates:
    """A page of the matching votes, and its pager."""
    only = VoteFilter(
        user=who or None,
        choice=Choice(verdict) if verdict else None,
        run_id=int(run) if run else None,
    )
    number, user = paging.number_of(page), query.username(request)
    with read_session() as session:
        found = label_queries.votes(
            session=session, only=only, limit=PAGE_ROWS + 1, offset=number * PAGE_ROWS, viewer=user
        )
    shown = found[:PAGE_ROWS]
    answers.record_shown(shown, user=user)
    table = (
        results_view.vote_list(shown, user=user)
        if shown
        else widgets.notice(_("No vote matches. Widen the filters."))
    )
    return {"table": table, **paging.state(number, PAGE_ROWS, len(shown), more=len(found) > PAGE_ROWS)}


def first_page(who: str, verdict: str, run: str, request: gr.Request | None = None) -> Updates:
    return list_votes(who, verdict, run, 0, request)


def newer(who: str, verdict: str, run: str, page: float, request: gr.Request | None = None) -> Updates:
    return list_votes(who, verdict, run, page - 1, request)


def older(who: str, verdict: str, run: str, page: float, request: gr.Request | None = None) -> Updates:
    return list_votes(who, verdict, run, page + 1, request)
