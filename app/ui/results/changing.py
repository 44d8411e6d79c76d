"""Changing and withdrawing one's own votes."""

from typing import Any

import gradio as gr

from app import answers
from app.errors import NotFound, Refused
from app.i18n import _
from app.store import label_queries
from app.store.db import read_session
from app.store.enums import Choice
from app.store.judging import LETTERS
from app.store.vote_details import Vote
from app.ui import query
from app.ui.compare.actions import has_old_reason, showing_errors
from app.ui.compare.names import contender_name
from app.ui.results import view as results_view
from app.ui.results.overview import overview
from app.ui.updates import Updates


def open_change(request: gr.Request | None = None) -> Updates:
    """Open the vote in the page's address if it is the reader's own."""
    wanted, wrong = query.ids(request, "vote"), query.wrong_id(request, "vote")
    if not wanted and not wrong:
        return closed()
    vote = _own_vote(wanted[0] if wanted else 0, query.username(request))
    if vote is None:
        gr.Warning(_("The address names no vote of yours; choose one from the list."), duration=8)
    return closed() if vote is None or vote.hidden else _opened(vote)


def _opened(vote: Vote) -> Updates:
    two = len(vote.sides) == 2
    titles = [(f"{side.letter} · {contender_name(side.contender)}", side.letter) for side in vote.sides]
    verdicts = [
        (
            _("{answer} is better", answer=title) if two else _("{answer} is best", answer=title),
            letter,
        )
        for title, letter in titles
    ]
    verdicts += [
        (_("Tie") if two else _("All alike"), "tie"),
        (_("Both bad") if two else _("All bad"), "both bad"),
    ]
    return {
        "label_id": vote.label.id,
        "change": gr.update(visible=True),
        "changing": results_view.changing(vote),
        "choice": gr.update(choices=verdicts, value=_verdict(vote)),
        "worst": gr.update(choices=titles, value=vote.worst.letter if vote.worst else None, visible=not two),
        "reason": gr.update(value=vote.label.reason, placeholder=""),
    }


def clear_old_reason(
    label_id: float, choice: str | None, worst: str | None, reason: str, request: gr.Request | None = None
) -> Any:
    """Clear the reason when a different verdict is chosen; it belonged to the earlier verdict."""
    vote = _own_vote(int(label_id or 0), query.username(request))
    if vote is None or not has_old_reason(vote.label, reason, changed=_changed(vote, choice, worst)):
        return gr.skip()
    return gr.update(value="", placeholder=_("The verdict changed; give a new reason."))


def _own_vote(label_id: int, user: str) -> Vote | None:
    try:
        with read_session() as session:
            vote = label_queries.details(label_id, session=session, viewer=user)
    except NotFound:
        return None
    return vote if vote.user == user else None


def _changed(vote: Vote, choice: str | None, worst: str | None) -> bool:
    """Whether the verdict in the form differs from the stored vote."""
    before = _verdict(vote)
    if choice != before or vote.worst is None or len(vote.sides) == 2:
        return choice != before
    return worst != vote.worst.letter


def _verdict(vote: Vote) -> str | None:
    words = {Choice.TIE: "tie", Choice.ALL_BAD: "both bad"}
    return vote.best.letter if vote.best else words.get(vote.label.choice)


def closed() -> Updates:
    """Updates that close the form."""
    return {"label_id": 0, "change": gr.update(visible=False)}


def save(
    label_id: float, choice: str, worst: str | None, reason: str, request: gr.Request | None = None
) -> Updates:
    """Store the changed vote, then refresh the page."""
    user = query.username(request)

    def act() -> None:
        with read_session() as session:
            vote = label_queries.details(int(label_id), session=session, viewer=user)
        if vote.user != user:
            raise Refused(_("This vote is {name}'s; you can change only your own votes.", name=vote.user))
        if vote.hidden:
            raise Refused(
                _("You may still judge these answers blind; undo your vote on the Label page instead.")
            )
        names_worst = len(vote.sides) > 2 and choice in LETTERS
        anew = has_old_reason(vote.label, reason, changed=_changed(vote, choice, worst))
        if _changed(vote, choice, worst):
            said = "" if anew else reason
            answers.change(
                vote.label.id, choice, user=user, worst=(worst or "") if names_worst else "", reason=said
            )
        else:
            answers.explain(vote.label.id, reason, user=user)

    showing_errors(act)
    gr.Info(_("The vote is changed."), duration=3)
    return {**overview(request), **closed()}


def withdraw(label_id: float, request: gr.Request | None = None) -> Updates:
    """Withdraw the vote, then refresh the page."""

    def act() -> None:
        answers.withdraw(int(label_id), user=query.username(request))

    showing_errors(act)
    gr.Info(_("The vote is withdrawn."), duration=3)
    return {**overview(request), **closed()}
