"""Converts a view of a conversation to named updates of the compare page.

While answers stream, only changed panels are sent, so that open details and selections survive.
"""

import time
from typing import TypedDict

import gradio as gr

from app.i18n import N_, _
from app.store.conversations import MAX_CONTENDERS
from app.store.enums import Choice
from app.store.judging import LETTERS
from app.ui.compare import state as compare_state
from app.ui.compare import view as compare_view
from app.ui.compare.state import Turn, View
from app.ui.updates import Updates

EACH_ITS_OWN = "each its own"
SIDES = range(MAX_CONTENDERS)
TWO_BUTTONS = ("vote_a", "vote_tie", "vote_bad", "vote_b")
MANY_BUTTONS = ("vote_many", "vote_many_tie", "vote_many_bad")

UPDATED = (
    "conversation",
    "seen",
    "timer",
    "no_worker",
    "setup",
    "prompts",
    "opening",
    "opening_shown",
    "opening_box",
    "summary",
    "earlier",
    "question",
    *(f"{part}{side}" for side in SIDES for part in ("column", "panel", "stop", "again")),
    "stop_all",
    "votes_two",
    *TWO_BUTTONS,
    "votes_many",
    "best",
    "worst",
    *MANY_BUTTONS,
    "voting",
    "vote_note",
    "reason",
    "withdraw",
    "show_names",
    "continues",
    "ask",
    "ask_note",
    "recent",
)
"""Names of the components that an action updates."""


_UNANSWERED = N_("You can write the next question now, and ask it when the answers are complete.")


class Seen(TypedDict, total=False):
    """The state that the open page already shows."""

    comparison: int
    answers: list[int]
    panels: list[str]
    ready_at: float | None
    vote: str
    stamp: str


def ids(view: View) -> list[int]:
    """Ids of the answers to the current question."""
    return [answer.id for answer in view.current.answers]


def show(view: View, seen: Seen) -> Updates:
    """Updates for a view; only the changes if the comparison is already shown."""
    turn = view.current
    fresh = seen.get("comparison") != turn.comparison.id
    panels = [str(compare_view.panel(view, side)) for side in range(len(turn.answers))]
    before = [] if fresh else seen.get("panels", [])
    vote = _vote_mark(turn)
    if panels == before and (ids(view), vote) == (seen.get("answers"), seen.get("vote")):
        return {}
    ready_at = None if fresh else seen.get("ready_at")
    if turn.over and ready_at is None:
        ready_at = time.time()
    updates: Updates = {
        "seen": Seen(
            comparison=turn.comparison.id,
            answers=ids(view),
            panels=panels,
            ready_at=ready_at,
            vote=vote,
            stamp=view.stamp,
        ),
        "timer": gr.Timer(active=not turn.over),
        **_sides(view, panels, before),
        **_voting(view),
        **compare_view.asking(ready=turn.over, why=_(_UNANSWERED)),
    }
    if fresh:
        updates |= _frame(view)
    if fresh or vote != seen.get("vote"):
        updates |= _fields(view)
    return updates


def _vote_mark(turn: Turn) -> str:
    """A version stamp of the vote, empty without a vote."""
    return "" if turn.label is None else f"{turn.label.id} {turn.label.updated_at.isoformat()}"


def _frame(view: View) -> Updates:
    return {
        "conversation": view.conversation.id,
        "no_worker": gr.update(visible=not compare_state.worker_present()),
        "setup": gr.update(visible=False),
        "prompts": gr.update(visible=False),
        "opening": [],
        "opening_box": gr.update(visible=False),
        "summary": gr.update(value=compare_view.summary(view), visible=True),
        "earlier": gr.update(value=compare_view.earlier_turns(view), visible=len(view.turns) > 1),
        "question": gr.update(value=compare_view.present_question(view), visible=True),
    }


def _sides(view: View, panels: list[str], before: list[str]) -> Updates:
    """The changed panels, and the available actions of each answer."""
    turn = view.current
    updates: Updates = {}
    for side in SIDES:
        there = side < len(panels)
        updates[f"column{side}"] = gr.update(visible=there)
        if not there:
            continue
        over = turn.answers[side].status.is_over
        if panels[side : side + 1] != before[side : side + 1]:
            updates[f"panel{side}"] = panels[side]
        updates[f"stop{side}"] = gr.update(visible=not over)
        updates[f"again{side}"] = gr.update(visible=over and turn.label is None)
    updates["stop_all"] = gr.update(visible=not turn.over and len(panels) > 1)
    return updates


def _voting(view: View) -> Updates:
    """The vote buttons, disabled while text streams; the chosen one is highlighted."""
    turn = view.current
    count = len(turn.answers)
    chosen = _chosen_button(turn)
    buttons = TWO_BUTTONS if count == 2 else MANY_BUTTONS
    return {
        "voting": gr.update(visible=count > 1),
        "votes_two": gr.update(visible=count == 2),
        "votes_many": gr.update(visible=count > 2),
        **{
            name: gr.update(interactive=turn.votable, variant="primary" if name == chosen else "secondary")
            for name in buttons
        },
        "best": gr.update(interactive=turn.votable),
        "worst": gr.update(interactive=turn.votable),
        "vote_note": compare_view.vote_note(view),
        "withdraw": gr.update(visible=turn.label is not None),
        "show_names": gr.update(visible=turn.hidden and turn.over),
    }


def _chosen_button(turn: Turn) -> str | None:
    label, two = turn.label, len(turn.answers) == 2
    if label is None:
        return None
    if label.choice is Choice.TIE:
        return "vote_tie" if two else "vote_many_tie"
    if label.choice is Choice.ALL_BAD:
        return "vote_bad" if two else "vote_many_bad"
    return ("vote_a" if turn.best == 0 else "vote_b") if two else "vote_many"


def _fields(view: View) -> Updates:
    """Fields that the user fills in; set once per comparison or vote, never while the user may be typing."""
    turn = view.current
    titles = [(turn.title(side), LETTERS[side]) for side in range(len(turn.answers))]
    own = (_("Each its own answer"), EACH_ITS_OWN)
    best, worst = (LETTERS[p] if p is not None else None for p in (turn.best, turn.worst))
    return {
        "best": gr.update(choices=titles, value=best, interactive=turn.votable),
        "worst": gr.update(choices=titles, value=worst, interactive=turn.votable),
        "reason": turn.label.reason if turn.label else "",
        "continues": gr.update(choices=[*titles, own], value=best or "A", visible=len(titles) > 1),
    }


def recent(conversation_id: int, user: str) -> Updates:
    return {
        "no_worker": gr.update(visible=not compare_state.worker_present()),
        "recent": compare_view.recent_list(compare_state.recent_conversations(user), conversation_id),
    }
